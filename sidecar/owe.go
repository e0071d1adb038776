package sidecar

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// debts are the ends of sessions that this sidecar owes to nodes. Until such a node has the end it may answer with the living record, and the other
// nodes may be silent then, or have lost what they had: but this sidecar knows.
type debts struct {
	some atomic.Bool // a look costs no lock while nothing is owed
	mu   sync.Mutex
	ends map[[16]byte]*debt // by endJob
}

// debt is one of them.
type debt struct {
	end    *sessioncodec.Record
	pay    func(context.Context)
	tries  atomic.Int32 // since a node came back
	paying atomic.Bool
}

// add takes a debt, unless that end is owed already.
func (d *debts) add(job [16]byte, owed *debt) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ends == nil {
		d.ends = map[[16]byte]*debt{}
	}
	if d.ends[job] != nil {
		return false
	}
	d.ends[job] = owed
	d.some.Store(true)
	return true
}

// settle forgets an end: all nodes have it, or it will not be brought to them.
func (d *debts) settle(job [16]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.ends, job)
	d.some.Store(len(d.ends) > 0)
}

// of is how a session ended, nil when nothing of it is owed.
func (d *debts) of(random [16]byte) *sessioncodec.Record {
	if !d.some.Load() {
		return nil
	}
	return sessioncodec.Join(d.at(endJob(random, sessioncodec.Destroyed)), d.at(endJob(random, sessioncodec.Superseded)))
}

func (d *debts) at(job [16]byte) *sessioncodec.Record {
	d.mu.Lock()
	defer d.mu.Unlock()
	if owed := d.ends[job]; owed != nil {
		return owed.end
	}
	return nil
}

func (d *debts) all() map[[16]byte]*debt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.ends)
}

// load reads a session from the ring. One whose end is owed is never found living; one whose tombstone is, is no question any more.
func (h *Handler) load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	found, err := h.opts.Store.Load(ctx, id, reach)
	end := h.debts.of(id.Random)
	switch {
	case end == nil:
	case err == nil && found.Record != nil:
		found.Record = sessioncodec.Join(found.Record, end)
	case errors.Is(err, store.ErrUnknown) && end.State == sessioncodec.Destroyed:
		return store.Found{Record: end}, nil
	}
	return found, err
}

// owe brings the end of a session, a tombstone or the mark of a renewal, to the nodes that did not take it, until all have it: a second later, then more
// and more seldom, and whenever a node comes back. One that is back with the living record would show it once the others have lost theirs. What was
// found there is handed to found, if that is not nil.
func (h *Handler) owe(id ring.ID, end *sessioncodec.Record, found func(context.Context, *sessioncodec.Record) error) {
	job, owed := endJob(id.Random, end.State), &debt{end: end}
	owed.pay = func(ctx context.Context) {
		if h.debts.at(job) == nil || !owed.paying.CompareAndSwap(false, true) {
			return
		}
		defer owed.paying.Store(false)
		if h.bring(ctx, id, end, found) {
			h.debts.settle(job)
		} else {
			h.payLater(job, owed)
		}
	}
	if h.debts.add(job, owed) {
		h.payLater(job, owed)
	}
}

// oweMost is how long a debt rests at most: less than a note about it stays.
const oweMost = time.Minute

func (h *Handler) payLater(job [16]byte, owed *debt) {
	wait := min(backgroundRetry<<min(owed.tries.Add(1)-1, 10), oweMost)
	if !h.background.after(wait, job, owed.pay) {
		h.background.dropped()
		h.debts.settle(job)
	}
}

// payAll brings what is owed, now that a node is back.
func (h *Handler) payAll() {
	for job, owed := range h.debts.all() {
		owed.tries.Store(0)
		h.background.add(job, owed.pay)
	}
}

// bring offers an end to every node, and tells whether it is owed no more.
func (h *Handler) bring(ctx context.Context, id ring.ID, end *sessioncodec.Record, found func(context.Context, *sessioncodec.Record) error) (done bool) {
	dead := end.State == sessioncodec.Destroyed
	if time.Since(id.Born()) > h.opts.Lifetime || !dead && end.Expired(time.Now(), h.touch) {
		return true // no id of it is accepted any more, or nothing is left to be shown
	}
	var met gathered
	saved, err := h.opts.Store.Save(ctx, id, store.Write{Wait: store.Both, End: !h.opts.Sticky, Refill: dead || h.opts.Sticky,
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
		return true
	}
	if err == nil && found != nil {
		err = found(ctx, saved.Record)
	}
	return err == nil && !saved.Short
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
