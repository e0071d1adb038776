package sidecar

import (
	"context"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// sharedCopies is how many nodes hold a session of shared mode: a read asks one of them, so the other must be as good.
const sharedCopies = 2

// copies is how many nodes are written for an id. One that names no node was found by a link of a renewal, or born while no node was up: then
// all are, for the visitor's own id names one of them, and a read asks that one alone.
func copies(id ring.ID) int {
	if id.Node == "" {
		return 0
	}
	return sharedCopies
}

// shared keeps nothing: each request reads the ring, each change goes back to it (K14). Sessions have no owner.
type shared struct{ h *Handler }

// find asks the id's node alone in the steady state.
func (k *shared) find(ctx context.Context, v *visit) error {
	found, err := k.h.load(ctx, v.id, store.Near)
	if err != nil {
		return err
	}
	if found.Record == nil {
		if found.Lost {
			k.h.count("lost")
		}
		return nil
	}
	if err := k.doubt(v.id, found); err != nil {
		return err
	}
	now := time.Now()
	k.h.clock.See(found.Record)
	k.h.meet(v, found.Record, now)
	v.seen = found.Seen
	if v.loaded != nil && !v.frozen && (found.Short || now.UnixMilli()-found.Record.Accessed > k.h.touch.Milliseconds()) {
		k.touch(v.id, now)
	}
	return nil
}

// doubt judges copies when the id's own node is silent. The id may say that this node alone took the last change (see label): a record without
// it is older than what was acknowledged, and must not be built on. Nor must one that lies where only an earlier write left it. After ring.unknown_for it is the best there is.
func (k *shared) doubt(id ring.ID, found store.Found) error {
	sound := !found.Stray && id.Epoch == 0 || id.Epoch != 0 && marked(found.Record, id.Epoch)
	silent := found.Silent
	if silent == nil && id.Epoch != 0 {
		silent = found.Foreign // a node that left the ring, or came into another sidecar's: that one will write it on
	}
	if sound || silent == nil || found.Record.State == sessioncodec.Destroyed {
		return nil
	}
	if time.Duration(silent.DownFor)*time.Millisecond <= k.h.opts.UnknownFor {
		return silent
	}
	k.h.count("stale")
	return nil
}

func marked(r *sessioncodec.Record, mark uint16) bool {
	return slices.ContainsFunc(r.Entries, func(e sessioncodec.Entry) bool { return ring.Mark(e.Stamp.Clock) == mark })
}

// label names in the id the node that has a change and, when fewer nodes took it than should, the change itself: the other copy may be older,
// and only a copy that holds a stamp with that mark can stand in for the named node's. The next change that all took ends that. An asynchronous commit
// does not wait to hear of the second copy; but it has heard of the node that was named when another one took its place.
func (k *shared) label(id ring.ID, saved store.Saved, mark uint16) ring.ID {
	switch {
	case !saved.Short || k.h.async() && saved.Failed && saved.Node == id.Node:
		id.Epoch = 0
	case mark != 0:
		id.Epoch = mark
	}
	return k.h.relabel(id, saved.Node)
}

// commit joins the changes of a group into both copies, in parallel.
func (k *shared) commit(ctx context.Context, g *group) {
	base, now := g.before, time.Now()
	for _, c := range g.changes {
		if now.Sub(time.UnixMilli(c.v.accessed)) < lateAfter {
			base = sessioncodec.Join(base, c.v.loaded)
		}
	}
	if base == nil {
		for _, c := range g.changes {
			base, c.e.late = sessioncodec.Join(base, c.v.loaded), true
		}
	}
	if g.on(base) {
		if err := k.keep(ctx, g); err != nil {
			g.settle(err)
		}
	}
}

func (k *shared) birth(ctx context.Context, v *visit, e *edit) error {
	return k.keep(ctx, single(v, e))
}

func (k *shared) keep(ctx context.Context, g *group) error {
	first := g.changes[0]
	wait := store.Both
	if k.h.async() && !first.e.exact {
		wait = store.First // a lock is only as good as the answer of both copies: sidecars may differ about which node is up (K15)
	}
	write := store.Write{
		Join: g.join, Forget: g.forget, Copies: copies(g.id), Wait: wait, Birth: g.born, Done: k.repair(g.id, time.UnixMilli(first.e.now), false),
	}
	// A count must meet what another sidecar counted, also where that reaches only the node which this one takes for down (K15).
	write.Insist = first.e.exact && !g.born
	if !first.waited && !first.e.late {
		write.Seen = first.v.seen // else another commit has written over that
	}
	saved, err := k.h.save(ctx, g.id, write)
	switch {
	case err != nil:
		return err
	case k.h.opts.Commit == All && saved.Short:
		return store.ErrUnacknowledged
	case saved.Record.State == sessioncodec.Destroyed:
		return errGone
	case saved.Record.State == sessioncodec.Superseded:
		g.follow(ctx, k.h, saved.Record)
		g.written()
		return nil
	}
	g.after = saved.Record
	g.relabel(k.label(g.id, saved, g.mark(saved.Record)))
	return nil
}

// hold has nothing to hold: the join decides between parallel writers.
func (k *shared) hold(_ context.Context, v *visit) (*sessioncodec.Record, func(ended bool), error) {
	return v.loaded, func(bool) {}, nil
}

func (k *shared) forget([16]byte) {}

// touch refreshes a session's copies in the background.
func (k *shared) touch(id ring.ID, now time.Time) {
	k.h.opts.Metrics.Touches.Inc()
	k.h.background.add(id.Random, func(ctx context.Context) { k.refresh(ctx, id, now) })
}

// refresh reads every node, and refills what is missing or behind. A session missed everywhere stays missed, for no memory here knows
// more than the ring.
func (k *shared) refresh(ctx context.Context, id ring.ID, now time.Time) {
	found, err := k.h.load(ctx, id, store.Everywhere)
	if err != nil || found.Record == nil || found.Record.State == sessioncodec.Destroyed && !found.Short {
		return // a tombstone that a node lacks is brought there like any other record
	}
	mine := *found.Record
	mine.Accessed = max(mine.Accessed, now.UnixMilli())
	_, err = k.h.opts.Store.Save(ctx, id, store.Write{
		Copies: copies(id), Wait: store.Both, Done: k.repair(id, now, true), Forget: k.h.forgetting(now),
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(&mine, stored), nil
		},
	})
	if err != nil {
		k.h.opts.Log.Warn("a session could not be refreshed", "ref", ring.Ref(k.h.opts.Space, id.Random), "error", err)
	}
}

// repair comes back to a write that a node did not take although it is up: a read would believe the older copy there once the other
// node is lost, or pauses. It comes at once after a commit, for so may the next request, and then each second. A node that is down needs
// no repair, for it comes back suspect or empty, and reads see to that.
func (k *shared) repair(id ring.ID, now time.Time, repeated bool) func(store.Saved, error) {
	return func(done store.Saved, err error) {
		if err != nil || !done.Failed {
			return
		}
		refresh := func(ctx context.Context) { k.refresh(ctx, id, now) }
		if repeated || !k.h.background.add(id.Random, refresh) {
			k.h.background.again(id.Random, refresh)
		}
	}
}
