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
	_, release, err := h.keeper.hold(ctx, v)
	var links []sessioncodec.Link
	if err == nil {
		links, err = h.bury(ctx, v.id)
	}
	// Released before the neighbours are touched: a late write holds its session and waits for the one that this is (follow).
	release(err == nil)
	if err != nil {
		return err
	}
	h.count("destroyed")
	h.subjects.left(v.id, v.loaded)
	known := map[[16]byte]bool{v.id.Random: true}
	for hops := 0; len(links) > 0 && hops < chainLimit; hops++ {
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
			if stored != nil && stored.Owner.Epoch >= owner.Epoch {
				owner = stored.Owner
			}
			return sessioncodec.Join(tomb, stored), nil
		}}
	saved, err := h.save(ctx, id, write)
	if err == nil && saved.Failed { // once more at once: a node that is up would show the session until it hears of this
		saved, err = h.save(ctx, id, write)
	}
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

// linksOf lists the neighbours that end with r: its successor, and its predecessor while that one is in grace.
func (h *Handler) linksOf(r *sessioncodec.Record) []sessioncodec.Link {
	var links []sessioncodec.Link
	if r == nil {
		return nil
	}
	if r.To != (sessioncodec.Link{}) {
		links = append(links, r.To)
	}
	if r.Prev != (sessioncodec.Link{}) && h.inGrace(r.Prev.At, time.Now()) {
		links = append(links, r.Prev)
	}
	return links
}

// owe brings the end of a session, a tombstone or the mark of a renewal, to the nodes that did not answer: once a second until all have it.
// A node that is back with the living record would show it once the others have lost theirs. What was found there is handed to found, if
// that is not nil.
func (h *Handler) owe(id ring.ID, end *sessioncodec.Record, found func(context.Context, *sessioncodec.Record) error) {
	dead := end.State == sessioncodec.Destroyed
	h.background.again(endJob(id.Random, end.State), func(ctx context.Context) {
		if time.Since(id.Born()) > h.opts.Lifetime || !dead && end.Expired(time.Now(), h.touch) {
			return // no id of it is accepted any more, or nothing is left to be shown
		}
		var met gathered
		saved, err := h.opts.Store.Save(ctx, id, store.Write{Wait: store.Both, Refill: dead || h.opts.Sticky,
			Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
				if dead {
					met.add(h.linksOf(stored))
				}
				return sessioncodec.Join(end, stored), nil
			}})
		for _, link := range met.all() {
			h.buryLater(link)
		}
		if errors.Is(err, store.ErrGone) {
			return
		}
		if err == nil && found != nil {
			err = found(ctx, saved.Record)
		}
		if err != nil || saved.Short {
			h.owe(id, end, found)
		}
	})
}

// gathered are the links that a write met on the nodes. A write goes on after it was answered.
type gathered struct {
	mu    sync.Mutex
	links []sessioncodec.Link
}

func (g *gathered) add(links []sessioncodec.Link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.links = append(g.links, links...)
}

func (g *gathered) all() []sessioncodec.Link {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.links)
}

// buryLater ends a neighbour in a chain of renewals that a logout could not see: only the node that was silent knew of it.
func (h *Handler) buryLater(link sessioncodec.Link) {
	h.keeper.forget(link.Random)
	h.background.again(endJob(link.Random, sessioncodec.Destroyed), func(ctx context.Context) {
		more, err := h.bury(ctx, ring.ID{Random: link.Random, Issued: link.Issued})
		if err != nil {
			more = append(more, link)
		}
		for _, next := range more {
			h.buryLater(next)
		}
	})
}

// endJob keeps an owed end apart from the session's touches, and a tombstone from the mark of a renewal: where one of those waits, it would
// be left out (L5).
func endJob(random [16]byte, state sessioncodec.State) [16]byte {
	random[0] ^= byte(state) << 6
	return random
}

// inGrace tells whether a renewal at that time still lets the old id read.
func (h *Handler) inGrace(at int64, now time.Time) bool {
	return now.UnixMilli() < at+h.opts.RenewGrace.Milliseconds()
}
