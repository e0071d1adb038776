package sidecar

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// destroy ends a session and its neighbours in a chain of renewals: a logout with the old id in grace ends the new session, and a
// logout of the new one ends what the old id still shows. Nothing brings them back (L5).
func (h *Handler) destroy(ctx context.Context, v *visit) error {
	if v.loaded == nil {
		return nil
	}
	held, release, err := h.keeper.hold(ctx, v)
	var links []sessioncodec.Link
	if err == nil {
		links, err = h.bury(ctx, v.id)
		links = append(links, append(h.linksOf(v.loaded), h.linksOf(held)...)...) // the nodes may have lost them
	}
	// Released before the neighbours are touched: a late write holds its session and waits for the one that this is (follow).
	release(err == nil)
	if err != nil {
		return err
	}
	h.count("destroyed")
	h.subjects.left(v.id, v.loaded)
	known := map[[16]byte]bool{v.id.Random: true}
	for len(links) > 0 && len(known) <= chainLimit {
		next := links[0]
		links = links[1:]
		if known[next.Random] {
			continue
		}
		known[next.Random] = true
		h.keeper.forget(next.Random)
		more, err := h.bury(ctx, ring.ID{Random: next.Random, Issued: next.Issued})
		if err != nil {
			return untold(err)
		}
		links = append(links, more...)
	}
	return nil
}

// bury joins `destroyed` into every node that answers; one must. Nodes that do not are tried until they have it, or the session's
// lifetime is over. It returns the links that the record had.
func (h *Handler) bury(ctx context.Context, id ring.ID) ([]sessioncodec.Link, error) {
	var mu sync.Mutex
	var links []sessioncodec.Link
	var owner sessioncodec.Owner
	tomb := h.tombstone(id)
	write := store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			links = append(links, h.linksOf(stored)...)
			if stored != nil && stored.Owner != (sessioncodec.Owner{}) && stored.Owner.Epoch >= owner.Epoch {
				owner = stored.Owner // a node that has the tombstone by now names none
			}
			return sessioncodec.Join(tomb, stored), nil
		}}
	saved, err := h.finish(ctx, id, write)
	if err != nil {
		return nil, err
	}
	h.closeOpen(id.Random)
	// The save may go on and call its Join while others are told: it must not wait for that.
	mu.Lock()
	found, last := slices.Clone(links), owner
	mu.Unlock()
	if saved.Short {
		h.owe(id, tomb, nil)
	}
	return found, untold(h.tell(ctx, id, tomb, last, saved.Short))
}

// finish writes the end of a session. It comes back when no sidecar can show the session any more for want of news: each node has taken it, or every
// sidecar has had the time to notice that one is silent, or what the other nodes tell of it. A home alone answers for its sessions, and others ask it:
// there it is enough to try a node again that is up.
func (h *Handler) finish(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	w.End = !h.opts.Sticky
	saved, err := h.save(ctx, id, w)
	if err == nil && saved.Failed && h.opts.Sticky {
		return h.save(ctx, id, w)
	}
	for begun := time.Now(); err == nil && saved.Unnoticed && time.Since(begun) < store.Noticed && rest(ctx, endAgain); {
		again, failed := h.save(ctx, id, w)
		switch {
		case failed == nil:
			saved = again
		case !errors.Is(failed, store.ErrUnacknowledged): // else what was acknowledged before lies there
			err = failed
		}
	}
	return saved, err
}

// endAgain is how long after a node did not take an end it is offered to it again.
const endAgain = 50 * time.Millisecond

// rest waits for d; false when ctx ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tombstone is what a destroyed session leaves.
func (h *Handler) tombstone(id ring.ID) *sessioncodec.Record {
	return &sessioncodec.Record{
		State: sessioncodec.Destroyed, Created: int64(id.Issued) * 1000, Accessed: time.Now().UnixMilli(),
		Lifetime: uint32(h.opts.Lifetime.Seconds()),
	}
}

// retract ends a session that nobody was told of: the new one of a renewal that failed. It ends alone, for what it was to follow goes on, in
// the renewal that was first or as it was; and no node is owed its end, for nobody can ask for it.
func (h *Handler) retract(ctx context.Context, id ring.ID) {
	h.keeper.forget(id.Random)
	tomb := h.tombstone(id)
	_, _ = h.save(ctx, id, store.Write{Wait: store.Both, Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		return sessioncodec.Join(tomb, stored), nil
	}})
}

// tell brings a destruction to the memory of the owner that the nodes named, and, when not all nodes could be reached, to the peers: they
// may reach the others. An owner that is silent is fenced, or it would go on serving the session (K11).
func (h *Handler) tell(ctx context.Context, id ring.ID, tomb *sessioncodec.Record, owner sessioncodec.Owner, short bool) error {
	if !h.connected() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeoverWithin)
	defer cancel()
	m := message{random: id.Random, issued: id.Issued, record: tomb}
	for _, route := range h.peerRoutes() {
		if short && route != owner.Route {
			_, _, _ = h.ask(ctx, route, callTell, m)
		}
	}
	if owner.Route == "" || owner.Route == h.opts.Route {
		return nil
	}
	if _, _, err := h.ask(ctx, owner.Route, callTell, m); errors.Is(err, errSilent) {
		return h.fence(ctx, owner.Route)
	}
	return nil
}

// linksOf lists the neighbours that end with r: its successor, and its predecessor while that one is in grace by the slowest clock of the fleet.
func (h *Handler) linksOf(r *sessioncodec.Record) []sessioncodec.Link {
	var links []sessioncodec.Link
	if r == nil {
		return nil
	}
	if r.To != (sessioncodec.Link{}) {
		links = append(links, r.To)
	}
	if r.Prev != (sessioncodec.Link{}) && h.inGrace(r.Prev.At, time.Now().Add(-aheadLimit)) {
		links = append(links, r.Prev)
	}
	return links
}

// inGrace tells whether a renewal at that time still lets the old id read.
func (h *Handler) inGrace(at int64, now time.Time) bool {
	return now.UnixMilli() < at+h.opts.RenewGrace.Milliseconds()
}
