package sidecar

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// Front is the balancer before a fleet of sidecars. An HTTP engine drives it as it drives a Handler, and it needs less: it reads the route
// off the session id, and has no keys, no ring and no session.
//
//   - A visitor goes to the sidecar whose route is in the id. Who has no id, or one of a sidecar that is not there, goes to the one with the
//     fewest requests under way. Where sessions are shared nobody has a home.
//   - A sidecar that does not want visitors gets none, not even its own, unless no other is left. One that did not answer comes last.
//   - A request that reached nobody goes on to another sidecar, whatever it asks. So does one whose app is known not to have seen it. One that
//     may have been executed is sent again once, and only if it is safe (RFC 9110, section 9.2.1).
type Front struct {
	opts     FrontOptions
	mu       sync.Mutex // orders changes of the fleet and of its health
	backends atomic.Pointer[[]*backend]
}

// FrontOptions configure a Front. Every field is needed.
type FrontOptions struct {
	Cookie  string // its name, as the sidecars have it
	Sticky  bool   // false: no sidecar is any visitor's home
	Probe   Prober
	IntN    func(n int) int // draws lots among equally loaded sidecars
	Metrics *metrics.Front
	Log     *slog.Logger
}

// Prober asks the sidecar at address whether it wants visitors. The error tells that it did not answer, and is ErrRefused when nobody
// listens there.
type Prober func(ctx context.Context, address string) (ready bool, err error)

// NewFront returns a front without backends. Run must run beside it.
func NewFront(opts FrontOptions) *Front {
	f := &Front{opts: opts}
	f.backends.Store(new([]*backend))
	return f
}

// errand is one request on its way through a front.
type errand struct {
	route    string     // in the session id, "" without one
	tried    []*backend // the last one has the request now
	declined bool       // by the last one, unseen by its app
	repeated bool
}

// Request sends a visitor home.
func (f *Front) Request(x *head.Exchange) (head.To, *head.Reply) {
	e := &errand{}
	if f.opts.Sticky {
		e.route = routeOf(x.Request.Fields, f.opts.Cookie)
	}
	x.Session = e
	return f.send(e)
}

// send gives the request to the best sidecar that has not had it yet.
func (f *Front) send(e *errand) (head.To, *head.Reply) {
	b := f.choose(e)
	if b == nil {
		return head.To{}, head.Fail(503, head.AppUnreachable, "no sidecar takes the request")
	}
	e.release()
	b.requests.Add(1)
	e.tried = append(e.tried, b)
	b.sent.Inc()
	return head.To{Network: "tcp", Address: b.Address}, nil
}

// choose returns the best backend that e has not tried; those that are equally good draw lots.
func (f *Front) choose(e *errand) (best *backend) {
	equals := 0
	for _, b := range *f.backends.Load() {
		if slices.Contains(e.tried, b) {
			continue
		}
		order := -1
		if best != nil {
			order = b.compare(best, e.route)
		}
		switch {
		case order < 0:
			best, equals = b, 1
		case order == 0:
			if equals++; f.opts.IntN(equals) == 0 {
				best = b
			}
		}
	}
	return best
}

// Unreached sends x on: nobody listened, or the app has not seen it.
func (f *Front) Unreached(x *head.Exchange) (head.To, *head.Reply) {
	e := x.Session.(*errand)
	reason := "declined"
	if !e.declined {
		reason = "refused"
		f.mark(e.last(), gone)
	}
	e.declined = false
	return f.repeat(e, reason)
}

// Lost sends a safe request again whose connection broke. Once, for a request that kills whoever serves it must not go through the fleet.
// The sidecar gets no other one until it has answered a probe: those that wait on its other connections could not be repeated either.
func (f *Front) Lost(x *head.Exchange, whole bool) (head.To, *head.Reply) {
	e := x.Session.(*errand)
	f.mark(e.last(), gone)
	if e.repeated || !whole || !safe(x.Request.Method) {
		return head.To{}, head.Fail(502, head.AppUnreachable, "the sidecar broke the connection; the request may have been executed")
	}
	e.repeated = true
	return f.repeat(e, "lost")
}

func (f *Front) repeat(e *errand, reason string) (head.To, *head.Reply) {
	to, reply := f.send(e)
	if reply == nil {
		f.opts.Metrics.Repeats.WithLabelValues(reason).Inc()
	}
	return to, reply
}

func safe(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// Response passes every head as it is, but for the one that tells that no app has seen the request.
func (f *Front) Response(x *head.Exchange, h *head.Head) error {
	if h.Status != 503 || !h.Fields.Has(head.NotExecuted) {
		return nil
	}
	h.Fields.Del(head.NotExecuted)
	e := x.Session.(*errand)
	e.declined = true
	f.mark(e.last(), leaving)
	return head.ErrNotExecuted
}

// Trailer has nothing to say.
func (f *Front) Trailer(*head.Exchange, *head.Head) {}

// End counts the request down.
func (f *Front) End(x *head.Exchange, _ error) {
	if e, ok := x.Session.(*errand); ok {
		e.release()
	}
}

func (e *errand) last() *backend { return e.tried[len(e.tried)-1] }

// release takes the request off the last backend.
func (e *errand) release() {
	if len(e.tried) > 0 {
		e.last().requests.Add(-1)
	}
}

// routeOf is the route in the first cookie of that name that is an id. Whether the id is genuine is the sidecar's to find out (C9: of a jar
// full of them, few are looked at).
func routeOf(fields head.Fields, cookie string) string {
	candidates := 0
	for _, line := range fields {
		if !strings.EqualFold(line.Name, "Cookie") {
			continue
		}
		for pair := range strings.SplitSeq(line.Value, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if name != cookie {
				continue
			}
			if id, err := ring.ParseID(value); err == nil {
				return id.Route
			}
			if candidates++; candidates == maxCandidates {
				return ""
			}
		}
	}
	return ""
}

var (
	_ head.Handler  = (*Front)(nil)
	_ head.Repeater = (*Front)(nil)
)
