package sidecar

import (
	"context"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// Run does the engine's background work until ctx ends, and returns when nothing of it asks the store any more.
func (h *Handler) Run(ctx context.Context) {
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { h.background.run(ctx) })
	parts.Go(func() { h.watchFence(ctx) })
	parts.Go(func() { h.heart.run(ctx) })
	parts.Go(func() { h.watchOpen(ctx) })
	k, sticky := h.keeper.(*sticky)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if sticky {
				k.sweep(now, turn)
			}
			for _, q := range h.awaited.look() {
				parts.Go(func() { h.inquire(ctx, q) })
			}
		case <-h.renewed:
			h.payAll()
			if sticky {
				parts.Go(func() { k.refill(ctx) })
			}
		}
	}
}

// NewLife is told that a node lost its memory, came back, or left the ring: it is brought what it is owed, and the sessions of this memory are
// offered to the nodes again.
func (h *Handler) NewLife(string) {
	h.fences.forget()
	select {
	case h.renewed <- struct{}{}:
	default:
	}
}

// InMemory is the number of sessions in memory.
func (h *Handler) InMemory() int {
	if k, ok := h.keeper.(*sticky); ok {
		return len(k.table.all())
	}
	return 0
}

// Forget drops a session from memory by its ref, with what it has open, after an operator ended it in the ring; it tells whether it was
// there.
func (h *Handler) Forget(ref string) bool { return h.forgetAll([]string{ref}) > 0 }

// forgetAll drops sessions of which only the refs are known: one walk over the memory for all of them, for a ref leads nowhere.
func (h *Handler) forgetAll(refs []string) (forgotten int) {
	wanted := map[string]bool{}
	for _, ref := range refs {
		wanted[ref] = true
	}
	h.closeOpenByRef(wanted)
	k, ok := h.keeper.(*sticky)
	if !ok || len(refs) == 0 {
		return 0
	}
	var ref []byte
	for _, s := range k.table.all() {
		if ref = ring.AppendRef(ref[:0], h.opts.Space, s.random); wanted[string(ref)] {
			k.forget(s.random)
			forgotten++
		}
	}
	return forgotten
}
