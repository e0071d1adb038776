package sidecar

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// silence is how long a peer leaves questions unanswered before the requests that wait there are given up.
const silence = 3 * time.Second

// awaited are the requests that were passed on to other sidecars and have no answer yet. A host that vanishes, by a pulled plug or a parted
// network, ends no connection: its peers are asked whether they live, once a second where something has waited for more than one. Whatever they
// answer, their apps may take as long as they like. To enter takes no timer and no look at the clock.
type awaited struct {
	mu     sync.Mutex
	first  *visit
	looks  uint                 // at what waits, one a second
	silent map[string]time.Time // peers that do not answer: the first question that they left unanswered
}

// await is the place of a visit among the awaited; x is nil outside of them.
type await struct {
	x              *head.Exchange
	route, address string
	since          uint // look
	next, previous *visit
}

func (a *awaited) enter(v *visit, x *head.Exchange, route, address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v.await = await{x: x, route: route, address: address, since: a.looks, next: a.first}
	if a.first != nil {
		a.first.await.previous = v
	}
	a.first = v
}

// leave may be called again.
func (a *awaited) leave(v *visit) {
	if v.await.x == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	next, previous := v.await.next, v.await.previous
	if next != nil {
		next.await.previous = previous
	}
	if previous != nil {
		previous.await.next = next
	} else {
		a.first = next
	}
	v.await = await{}
}

// isOverdue tells whether v has waited for more than a second; a.mu is held.
func (a *awaited) isOverdue(v *visit) bool { return a.looks-v.await.since > 1 }

// inquiry is whom to ask, where, and about which session.
type inquiry struct {
	route, address string
	about          message
}

// look returns what to ask the peers where something has waited for more than a second: one question each.
func (a *awaited) look() (inquiries []inquiry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	waits := func(route string) bool {
		return slices.ContainsFunc(inquiries, func(q inquiry) bool { return q.route == route })
	}
	for v := a.first; v != nil; v = v.await.next {
		if a.isOverdue(v) && !waits(v.await.route) {
			inquiries = append(inquiries, inquiry{v.await.route, v.await.address, asking(v.shown)})
		}
	}
	maps.DeleteFunc(a.silent, func(route string, _ time.Time) bool { return !waits(route) })
	return inquiries
}

// heard notes whether a peer has answered what it was asked at that time, and gives up what waits for one that has been silent for too long.
// Under the mutex nothing leaves, so no other try and no exchange after its end is hit.
func (a *awaited) heard(route string, asked time.Time, answered bool) (lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, silent := a.silent[route]
	switch {
	case answered:
		delete(a.silent, route)
	case !silent:
		if a.silent == nil {
			a.silent = map[string]time.Time{}
		}
		a.silent[route] = asked
	case time.Since(since) >= silence:
		for v := a.first; v != nil; v = v.await.next {
			if v.await.route == route && a.isOverdue(v) {
				v.await.x.Lose()
				lost++
			}
		}
	}
	return lost
}

// inquire asks a peer whether it lives. One that refuses connections may be about to leave and to finish what it has; its host lives, and ends
// the connections of a process that is gone.
func (h *Handler) inquire(ctx context.Context, q inquiry) {
	asked := time.Now()
	_, err := h.askHome(ctx, q.route, q.address, q.about)
	if ctx.Err() != nil {
		return
	}
	answered := err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrDeclined)
	if lost := h.awaited.heard(q.route, asked, answered); lost > 0 {
		h.opts.Metrics.Sessions.WithLabelValues("forward_lost").Add(float64(lost))
		h.opts.Log.Warn("a peer is silent: requests that wait there are given up", "peer", q.route, "requests", lost)
	}
}
