package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
)

const (
	fencePoll  = 500 * time.Millisecond
	fenceTrust = 800 * time.Millisecond // memory is trusted that long after the start of a good poll
	// fenceWait is longer than a poll and its trust: whoever is fenced has seen it by then, or trusts its memory no more.
	fenceWait  = 1100 * time.Millisecond
	fenceRenew = 5 * time.Second
	fenceTTL   = 10 * time.Second
)

// fences are the other sidecars that this one had to fence.
type fences struct {
	mu    sync.Mutex
	since map[string]*incident
}

// incident is one silent sidecar: fenced once, waited for once, for all of its sessions.
type incident struct{ begun, written time.Time }

// forget makes takeovers fence and wait anew: a node that was emptied has lost the keys, and one that was away has none.
func (f *fences) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.since)
}

// fence makes sure that the silent owner with that route no longer trusts its memory (K9): it writes the route's fence key and waits until
// the owner must have seen it. Later takeovers of the same incident do not wait again. Where a node was emptied or came back meanwhile, the owner may
// ask just that one, which lacks the key.
func (h *Handler) fence(ctx context.Context, route string) error {
	for {
		i, err := h.fences.incident(ctx, h, route)
		if err != nil {
			return err
		}
		select {
		case <-time.After(time.Until(i.begun.Add(fenceWait))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if h.fences.goesOn(route, i) {
			return nil
		}
	}
}

// incident is the one under way, or begins one; the key is written when it is due.
func (f *fences) incident(ctx context.Context, h *Handler, route string) (*incident, error) {
	f.mu.Lock()
	if f.since == nil {
		f.since = map[string]*incident{}
	}
	now := time.Now()
	i := f.since[route]
	if i == nil || now.Sub(i.written) > fenceTTL {
		i = &incident{begun: now}
		f.since[route] = i
	}
	due := now.Sub(i.written) > fenceRenew
	if due {
		i.written = now
	}
	f.mu.Unlock()
	if !due {
		return i, nil
	}
	if err := h.opts.Fences.Fence(ctx, route, fenceTTL); err != nil {
		f.mu.Lock()
		delete(f.since, route)
		f.mu.Unlock()
		return nil, err
	}
	h.count("fence")
	h.opts.Log.Warn("a sidecar neither answers nor refuses; its sessions are taken over when it can no longer trust its memory", "route", route)
	return i, nil
}

// goesOn tells whether that is still the incident of the route.
func (f *fences) goesOn(route string, i *incident) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.since[route] == i
}

// fencing tells whether the fence of a route is in force.
func (h *Handler) fencing(route string) bool {
	h.fences.mu.Lock()
	defer h.fences.mu.Unlock()
	i := h.fences.since[route]
	return i != nil && time.Since(i.written) < fenceTTL
}

// trusted tells whether memory may be served without a look at the ring: nobody fenced this sidecar lately. Without peers nobody fences.
func (h *Handler) trusted(now time.Time) bool {
	return !h.connected() || now.UnixNano() < h.trust.Load()
}

// trusts tells whether s may be served without a look at the ring. While memory was not trusted others may have taken over any session,
// and written a fence that is gone by now: so each is looked for once after that.
func (k *sticky) trusts(s *session, now time.Time) bool {
	return k.h.trusted(now) && s.sure.Load() >= k.h.doubt.Load()
}

// watchFence polls this sidecar's own fence key. While no node answers, nobody can be fenced, and ring.isolated decides; but who is fenced already
// stays so for as long as the key may live.
func (h *Handler) watchFence(ctx context.Context) {
	tick := time.NewTicker(fencePoll)
	defer tick.Stop()
	var set time.Time
	for {
		if h.connected() {
			start := time.Now()
			found := h.opts.Fences.Fenced(ctx, h.opts.Route)
			switch found {
			case store.FenceSet:
				set = start
			case store.FenceClear:
				set = time.Time{}
			}
			if found == store.FenceClear || found == store.FenceIsolated && !h.opts.Refuse && start.Sub(set) > fenceTTL {
				if start.UnixNano() > h.trust.Load() {
					h.doubt.Store(time.Now().UnixNano())
				}
				h.trust.Store(start.Add(fenceTrust).UnixNano())
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
