package sidecar

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	// openPace is how many sessions with an open exchange are looked up in the ring in a second at most: of more, each waits longer.
	openPace  = 500
	openWatch = time.Second // the least time between two looks at one session
)

// openExchanges are those that go on long after their head: tunnels and streams of events. A session that ends ends them too (L10): at once
// where this process hears of it, and else within session.revocation_check. Exchanges that end by themselves are never entered, and cost nothing.
type openExchanges struct {
	mu       sync.Mutex
	sessions map[[16]byte][]*openExchange
}

type openExchange struct {
	x  *head.Exchange
	id ring.ID // its session's; a renewal changes it
}

// goesOn tells whether an exchange may last as long as its client likes.
func goesOn(resp *head.Head) bool {
	if resp.Status == 101 {
		return true
	}
	kind, _, _ := strings.Cut(resp.Fields.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

// enter keeps x until it leaves.
func (o *openExchanges) enter(x *head.Exchange, id ring.ID) *openExchange {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := &openExchange{x, id}
	if o.sessions == nil {
		o.sessions = map[[16]byte][]*openExchange{}
	}
	o.sessions[id.Random] = append(o.sessions[id.Random], e)
	return e
}

func (o *openExchanges) leave(e *openExchange) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rest := slices.DeleteFunc(o.sessions[e.id.Random], func(other *openExchange) bool { return other == e })
	if len(rest) == 0 {
		delete(o.sessions, e.id.Random)
		return
	}
	o.sessions[e.id.Random] = rest
}

// close breaks off what is open of a session. Under the mutex no exchange leaves, so none is closed after its end.
func (o *openExchanges) close(random [16]byte) (closed int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, e := range o.sessions[random] {
		e.x.Close()
	}
	return len(o.sessions[random])
}

// move follows a renewal: what the old id opened is the new one's.
func (o *openExchanges) move(old [16]byte, id ring.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	moved := o.sessions[old]
	if len(moved) == 0 || old == id.Random {
		return
	}
	delete(o.sessions, old)
	for _, e := range moved {
		e.id = id
	}
	o.sessions[id.Random] = append(o.sessions[id.Random], moved...)
}

// ids are the sessions that have something open.
func (o *openExchanges) ids() []ring.ID {
	o.mu.Lock()
	defer o.mu.Unlock()
	ids := make([]ring.ID, 0, len(o.sessions))
	for _, all := range o.sessions {
		ids = append(ids, all[0].id)
	}
	return ids
}

// closeOpen ends what is open of a session that ended.
func (h *Handler) closeOpen(random [16]byte) {
	if n := h.open.close(random); n > 0 {
		h.opts.Metrics.OpenClosed.Add(float64(n))
	}
}

// closeOpenByRef is closeOpen where only the refs are known.
func (h *Handler) closeOpenByRef(refs map[string]bool) {
	for _, id := range h.open.ids() {
		if refs[ring.Ref(h.opts.Space, id.Random)] {
			h.closeOpen(id.Random)
		}
	}
}

// watchOpen looks whether the sessions of open exchanges still live: a logout at another sidecar reaches this one's memory only with the next
// request, which a client that listens does not send.
func (h *Handler) watchOpen(ctx context.Context) {
	tick := time.NewTicker(max(h.opts.Revocation, openWatch))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, id := range h.open.ids() {
			h.lookAtOpen(ctx, id)
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second / openPace):
			}
		}
	}
}

func (h *Handler) lookAtOpen(ctx context.Context, id ring.ID) {
	if time.Since(id.Born()) > h.opts.Lifetime {
		h.closeOpen(id.Random)
		return
	}
	found, err := h.load(ctx, id, store.Near)
	switch r := found.Record; {
	case err != nil || r == nil: // not known, or garbage: nobody ended it
	case r.State == sessioncodec.Superseded:
		h.open.move(id.Random, ring.ID{Random: r.To.Random, Issued: r.To.Issued, Route: id.Route})
	case r.State == sessioncodec.Destroyed || h.revoked(ctx, r):
		h.keeper.forget(id.Random)
		h.closeOpen(id.Random)
	}
}

func (h *Handler) revoked(ctx context.Context, r *sessioncodec.Record) bool {
	subject, epoch, _ := bound(r)
	return h.subjects.revoked(ctx, subject, epoch)
}
