package sidecar

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/coding"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
)

// Front is the balancer before fleets of sidecars. An HTTP engine drives it as it drives a Handler, and it needs less: it reads the route
// off the session id, and has no keys, no ring and no session.
//
//   - The host and the path lead to an app. Its visitor goes to the sidecar whose route is in the id. Who has no id, or one of a sidecar that is
//     not there, goes to the one with the fewest requests under way. Where sessions are shared nobody has a home.
//   - A sidecar that does not want visitors gets none, not even its own, unless no other is left. One that did not answer comes last.
//   - A request that reached nobody goes on to another sidecar, whatever it asks. So does one whose app is known not to have seen it. One that
//     may have been executed is sent again once, and only if it is safe (RFC 9110, section 9.2.1).
//   - What the app sent plain is encoded as the client likes it.
type Front struct {
	opts     FrontOptions
	encoders coding.Encoders
	mu       sync.Mutex // orders changes of the site and of its health
	site     atomic.Pointer[site]
	departed []departed // guarded by mu
}

// FrontOptions configure a Front. Every field is needed.
type FrontOptions struct {
	Probe   Prober
	IntN    func(n int) int // draws lots among equally loaded sidecars
	Metrics *metrics.Front
	Log     *slog.Logger
}

// Prober asks the sidecar at address, by its health path, whether it wants visitors. The error tells that it did not answer; it is ErrRefused
// when nobody listens there, and ErrDeclined when somebody does who hangs up or answers another thing.
type Prober func(ctx context.Context, address, path string) (ready bool, err error)

// NewFront returns a front that serves nothing. Run must run beside it.
func NewFront(opts FrontOptions) *Front {
	f := &Front{opts: opts}
	f.site.Store(&site{})
	return f
}

// errand is one request on its way through a front.
type errand struct {
	route    *Route
	home     string     // the address of the visitor's sidecar, "" without one
	tried    []*backend // the last one has the request now
	await    await      // the answer of that one
	declined bool       // by the last one, unseen by its app
	repeated bool
	first    [2]*backend // room for most
}

var (
	noRoute = head.Fail(404, head.NoRoute, "nothing is served at this host and path")
	badPath = head.Fail(400, head.RequestRefused, "the path can be read in more than one way")
)

// Request finds the app, and sends a visitor home.
func (f *Front) Request(x *head.Exchange) (head.To, *head.Reply) {
	e := &errand{}
	e.tried = e.first[:0]
	x.Session = e
	s := f.site.Load()
	if s.normalPaths {
		target, ok := normalTarget(x.Request.Target)
		if !ok {
			return head.To{}, badPath
		}
		x.Request.Target = target
	}
	if e.route = s.route(x.Request.Authority, x.Request.Method, x.Request.Target); e.route == nil {
		return head.To{}, noRoute
	}
	e.home = homeOf(x.Request.Fields, e.route.Cookie, e.route.Homes)
	return f.send(x, e)
}

// send gives the request to the best sidecar that has not had it yet.
func (f *Front) send(x *head.Exchange, e *errand) (head.To, *head.Reply) {
	b := f.choose(e)
	if b == nil {
		return head.To{}, head.Fail(503, head.AppUnreachable, "no sidecar takes the request")
	}
	e.release()
	b.requests.Add(1)
	b.awaited.enter(&e.await, x, &toItself)
	e.tried = append(e.tried, b)
	b.sent.Inc()
	return head.To{Network: "tcp", Address: b.Address, Timeout: e.route.Timeout}, nil
}

// choose returns the best backend that e has not tried; those that are equally good draw lots. It looks at the fleet as it is now, which may
// be another one than that of the try before.
func (f *Front) choose(e *errand) (best *backend) {
	fleet := f.site.Load().fleets[e.route.App]
	if fleet == nil {
		return nil
	}
	if home := fleet.at[e.home]; home != nil && home.health() == serving && !e.hasTried(home) {
		return home // as the search below would find
	}
	equals := 0
	for _, b := range fleet.backends {
		if e.hasTried(b) {
			continue
		}
		order := -1
		if best != nil {
			order = b.compare(best, e.home)
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
	e.last().awaited.leave(&e.await)
	reason := "declined"
	if !e.declined {
		reason = "refused"
		f.mark(e.last(), gone)
	}
	e.declined = false
	return f.repeat(x, e, reason)
}

// Lost sends a safe request again whose connection broke, or whose sidecar was given up (front_silent.go). Once, for a request that kills whoever
// serves it must not go through the fleet. The sidecar gets no other one until it has answered a probe: those that wait on its other connections
// could not be repeated either.
func (f *Front) Lost(x *head.Exchange, whole bool) (head.To, *head.Reply) {
	e := x.Session.(*errand)
	e.last().awaited.leave(&e.await)
	f.mark(e.last(), gone)
	if e.repeated || !whole || !e.route.Lost || !safe(x.Request.Method) {
		return head.To{}, head.Fail(502, head.AppUnreachable, "the sidecar that had the request is gone; the request may have been executed")
	}
	e.repeated = true
	return f.repeat(x, e, "lost")
}

func (f *Front) repeat(x *head.Exchange, e *errand, reason string) (head.To, *head.Reply) {
	if len(e.tried) > e.route.Retries {
		return head.To{}, head.Fail(503, head.AppUnreachable, "no sidecar that was tried takes the request")
	}
	to, reply := f.send(x, e)
	if reply == nil {
		f.opts.Metrics.Repeats.WithLabelValues(reason).Inc()
	}
	return to, reply
}

func safe(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }

// Response passes every head as it is, but for the one that tells that no app has seen the request.
func (f *Front) Response(x *head.Exchange, h *head.Head) error {
	e := x.Session.(*errand)
	if h.Status >= 200 || h.Status == 101 {
		e.last().awaited.answered(&e.await)
	}
	if h.Status != 503 || !h.Fields.Has(head.NotExecuted) {
		return nil
	}
	h.Fields.Del(head.NotExecuted)
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

func (e *errand) hasTried(b *backend) bool {
	return slices.ContainsFunc(e.tried, func(tried *backend) bool { return tried.vitals == b.vitals })
}

// release takes the request off the last backend.
func (e *errand) release() {
	if len(e.tried) > 0 {
		e.last().awaited.leave(&e.await)
		e.last().requests.Add(-1)
	}
}

// LogValue is what the access log says of a request.
func (e *errand) LogValue() slog.Value {
	if len(e.tried) == 0 {
		return slog.GroupValue()
	}
	return slog.GroupValue(slog.String("app", e.route.App), slog.String("sidecar", e.last().name()), slog.Int("tries", len(e.tried)))
}

var (
	_ head.Handler  = (*Front)(nil)
	_ head.Repeater = (*Front)(nil)
)
