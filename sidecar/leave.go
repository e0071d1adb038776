package sidecar

import (
	"context"
	"sync"
)

// A sidecar that leaves its fleet says so to the other sidecars (DESIGN 8). They forward no more requests to it, which could meet a closing
// connection, and take its sessions over as visitors come to them. Who has not heard learns it when it asks next: at most peerMemory later.

// Leave begins to leave: commits wait for the ring again, what memory owes it is written, and every other sidecar is told. It returns when
// they have answered, or do not answer. Everything is served as before.
func (h *Handler) Leave(ctx context.Context) {
	if h.away.Swap(true) {
		return
	}
	h.writeBack()
	h.tellPeers(ctx, callLeave)
}

// Rejoin takes Leave back.
func (h *Handler) Rejoin(ctx context.Context) {
	if h.away.Swap(false) {
		h.tellPeers(ctx, callRejoin)
	}
}

func (h *Handler) tellPeers(ctx context.Context, call string) {
	if !h.connected() {
		return
	}
	var told sync.WaitGroup
	defer told.Wait()
	for _, route := range h.peerRoutes() {
		told.Go(func() { _, _, _ = h.ask(ctx, route, call, message{}) })
	}
}

// Owed is how many sessions the ring does not have yet as memory has them, and how many writes wait.
func (h *Handler) Owed() int {
	owed := h.background.waits()
	if k, ok := h.keeper.(*sticky); ok {
		for _, s := range k.table.all() {
			if s.owes() {
				owed++
			}
		}
	}
	return owed
}

// leftCopies is how many nodes shall hold a session whose home has left (K13): nobody refills a copy until its visitor comes.
const leftCopies = 2

// copies is how many nodes hold a session of this home.
func (k *sticky) copies() int {
	if k.h.away.Load() {
		return max(leftCopies, k.h.opts.Copies)
	}
	return k.h.opts.Copies
}

// writeBack queues what memory owes the ring: also, where one copy has been enough so far, the second.
func (h *Handler) writeBack() {
	k, ok := h.keeper.(*sticky)
	if !ok {
		return
	}
	for _, s := range k.table.all() {
		if st := s.now.Load(); st != nil && st.owned && (!st.backed || k.copies() > k.h.opts.Copies) {
			k.later(s)
		}
	}
}

// Flush writes what memory still owes the ring, before the process ends.
func (h *Handler) Flush(ctx context.Context) {
	h.away.Store(true)
	h.writeBack()
	h.background.flush(ctx)
}

func (s *session) owes() bool {
	st := s.now.Load()
	return st != nil && st.owned && !st.backed
}

// async tells whether commits wait for nothing. A sidecar that leaves has no memory to rely on.
func (h *Handler) async() bool { return h.opts.Commit == Async && !h.away.Load() }
