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

// silence is how long a sidecar leaves questions unanswered before the requests that wait there are given up.
const silence = 3 * time.Second

// awaited are the requests that were passed on to other sidecars, by a sidecar or by a front, and have no answer yet. A host that vanishes, by a
// pulled plug or a parted network, ends no connection: where something has waited for more than a second, that sidecar is asked whether it lives, once a
// second. Whatever it answers, its app may take as long as it likes. To enter takes no timer and no look at the clock.
type awaited struct {
	mu     sync.Mutex
	first  *await
	looks  uint                 // at what waits, one a second
	silent map[string]time.Time // sidecars that do not answer, by route: the first question that they left unanswered
}

// await is the place of a request among the awaited; x is nil outside of them.
type await struct {
	x              *head.Exchange
	asked          *inquiry
	since          uint // look
	next, previous *await
}

// inquiry is whom to ask, where, and about which session.
type inquiry struct {
	route, address string
	about          message
}

// enter notes that x waits for an answer of asked, which must not change before w leaves.
func (a *awaited) enter(w *await, x *head.Exchange, asked *inquiry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*w = await{x: x, asked: asked, since: a.looks, next: a.first}
	if a.first != nil {
		a.first.previous = w
	}
	a.first = w
}

// leave may be called again.
func (a *awaited) leave(w *await) {
	if w.x == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(w)
}

// answered is leave for what was answered: who answers one request does so for the others that wait there, however late its health path is.
func (a *awaited) answered(w *await) {
	if w.x == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.silent, w.asked.route)
	a.remove(w)
}

func (a *awaited) remove(w *await) {
	if w.next != nil {
		w.next.previous = w.previous
	}
	if w.previous != nil {
		w.previous.next = w.next
	} else {
		a.first = w.next
	}
	*w = await{}
}

// isOverdue tells whether w has waited for more than a second; a.mu is held.
func (a *awaited) isOverdue(w *await) bool { return a.looks-w.since > 1 }

// look returns what to ask where something has waited for more than a second: each sidecar one question.
func (a *awaited) look() (inquiries []inquiry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looks++
	waits := func(route string) bool {
		return slices.ContainsFunc(inquiries, func(q inquiry) bool { return q.route == route })
	}
	for w := a.first; w != nil; w = w.next {
		if a.isOverdue(w) && !waits(w.asked.route) {
			inquiries = append(inquiries, *w.asked)
		}
	}
	maps.DeleteFunc(a.silent, func(route string, _ time.Time) bool { return !waits(route) })
	return inquiries
}

// heard notes whether a sidecar has answered what it was asked at that time, and gives up what waits for one that has been silent for too long.
// Under the mutex nothing leaves, so no other try and no exchange after its end is hit.
func (a *awaited) heard(route string, asked time.Time, err error) (lost int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, silent := a.silent[route]
	switch {
	case livesAfter(err):
		delete(a.silent, route)
	case !silent:
		if a.silent == nil {
			a.silent = map[string]time.Time{}
		}
		a.silent[route] = asked
	case time.Since(since) >= silence:
		for w := a.first; w != nil; w = w.next {
			if w.asked.route == route && a.isOverdue(w) {
				w.x.Lose()
				lost++
			}
		}
	}
	return lost
}

// livesAfter tells whether a question that ended with err was answered. One that refuses connections may be about to leave and to finish what
// it has; its host lives, and ends the connections of a process that is gone.
func livesAfter(err error) bool {
	return err == nil || errors.Is(err, ErrRefused) || errors.Is(err, ErrDeclined)
}

// inquire asks a peer whether it lives.
func (h *Handler) inquire(ctx context.Context, q inquiry) {
	asked := time.Now()
	_, err := h.askHome(ctx, q.route, q.address, q.about)
	if ctx.Err() != nil {
		return
	}
	if lost := h.awaited.heard(q.route, asked, err); lost > 0 {
		h.opts.Metrics.Sessions.WithLabelValues("forward_lost").Add(float64(lost))
		h.opts.Log.Warn("a peer is silent: requests that wait there are given up", "peer", q.route, "requests", lost)
	}
}
