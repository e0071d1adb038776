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

// groupLimit bounds how many changes one write takes, and with it what a single conflict has to do again.
const groupLimit = 256

// groups commit the parallel changes of one session together: those that come while a commit is under way wait for it, and are then written in
// one go. Each is applied on the one before it, as if it had been committed alone after that, and is answered when the write has ended. One that
// fails by itself, because it makes the session too large, leaves the others alone. A change that must be exact goes alone.
type groups struct {
	mu    sync.Mutex
	lines map[[16]byte][]*change // what waits for the commit that is under way
}

// change is one answer's edit on its way into the ring.
type change struct {
	v       *visit
	e       *edit
	waited  bool          // for the commit under way, and only then it has
	settled chan struct{} // closed when err is the outcome
	leads   chan *group   // this one's turn has come, to commit these
	err     error
}

// commit keeps an edit of the session of v.
func (h *Handler) commit(ctx context.Context, v *visit, e *edit) error {
	c := &change{v: v, e: e}
	random := v.id.Random
	g, err := h.groups.enter(ctx, random, c)
	if err != nil || g == nil {
		return err
	}
	defer h.groups.leave(random, g, g.changes)
	now := time.Now()
	if c.waited { // how long says nothing of what comes now
		fresh := within(context.WithoutCancel(ctx), now, commitWithin)
		defer fresh.end()
		ctx = fresh
	}
	g.forget = h.forgetting(now)
	h.keeper.commit(ctx, g)
	return c.err
}

// enter waits until c is committed, by another change's leader, or until c leads: then it commits what it gets.
func (g *groups) enter(ctx context.Context, random [16]byte, c *change) (*group, error) {
	g.mu.Lock()
	waiting, busy := g.lines[random]
	if !busy {
		g.lines[random] = nil
		g.mu.Unlock()
		return groupOf(c), nil
	}
	if len(waiting) >= lineLimit {
		g.mu.Unlock()
		return nil, errCrowd
	}
	c.waited, c.settled, c.leads = true, make(chan struct{}), make(chan *group, 1)
	g.lines[random] = append(waiting, c)
	g.mu.Unlock()
	over := ctx.Done()
	for {
		select {
		case lead := <-c.leads:
			return lead, nil
		case <-c.settled:
			return nil, c.err
		case <-over:
			if g.withdraw(random, c) {
				return nil, store.ErrUnacknowledged
			}
			over = nil // it is being committed
		}
	}
}

func (g *groups) withdraw(random [16]byte, c *change) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at := slices.Index(g.lines[random], c)
	if at < 0 {
		return false
	}
	g.lines[random] = slices.Delete(g.lines[random], at, at+1)
	return true
}

// leave tells the others of a group that it is committed, and lets the next one be.
func (g *groups) leave(random [16]byte, committed *group, changes []*change) {
	for _, c := range changes[1:] {
		close(c.settled)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	waiting := g.lines[random]
	if len(waiting) == 0 {
		delete(g.lines, random)
		return
	}
	n := slices.IndexFunc(waiting, func(c *change) bool { return c.e.exact })
	if n < 0 {
		n = len(waiting)
	}
	n = min(max(n, 1), groupLimit)
	next := slices.Clone(waiting[:n])
	g.lines[random] = slices.Delete(waiting, 0, n)
	next[0].leads <- &group{changes: next, id: newest(next), before: committed.after}
}

// newest is the id of those shown that knows of the last takeover.
func newest(batch []*change) ring.ID {
	id := batch[0].v.id
	for _, c := range batch[1:] {
		if ring.EpochBefore(id.Epoch, c.v.id.Epoch) {
			id = c.v.id
		}
	}
	return id
}

// group is what one write commits.
type group struct {
	id      ring.ID
	born    bool
	before  *sessioncodec.Record // the outcome of the group before this one, if that was just now
	after   *sessioncodec.Record // of this one
	forget  func(*sessioncodec.Record) *sessioncodec.Record
	epoch   uint32    // in sticky mode of the session's owner, this process
	outrun  bool      // it met a later one, and may be on some node
	changes []*change // those that did not fail by themselves
	only    [1]*change

	joining sync.Mutex           // guards what follows
	rival   *sessioncodec.Record // what a node had with the later owner
}

// groupOf is a group of one, as most are.
func groupOf(c *change) *group {
	g := &group{id: c.v.id, only: [1]*change{c}}
	g.changes = g.only[:]
	return g
}

// single is the group of a session that nobody else can know yet.
func single(v *visit, e *edit) *group {
	v.born = true
	g := groupOf(&change{v: v, e: e})
	g.born, g.forget = true, func(r *sessioncodec.Record) *sessioncodec.Record { return r }
	return g
}

// on applies the changes to base, one after the other, and tells whether anything is to be written.
func (g *group) on(base *sessioncodec.Record) (changed bool) {
	base = g.forget(base)
	failed := false
	for _, c := range g.changes {
		does, err := c.e.on(base)
		if c.err = err; err != nil {
			failed = true
			continue
		}
		base, changed = c.e.record(), changed || does
	}
	if failed { // leave has still to tell them
		g.changes = slices.DeleteFunc(slices.Clone(g.changes), func(c *change) bool { return c.err != nil })
	}
	for i, c := range g.changes {
		for _, later := range g.changes[i+1:] {
			c.e.later = append(c.e.later, later.e)
		}
	}
	return changed
}

// join is the store's view of the group: what a node shall hold that holds stored now. A node that knows a later owner is not written: of what is
// merged there that one would not hear, and go on with the value in its memory. One of the two would be lost.
func (g *group) join(stored *sessioncodec.Record) (next *sessioncodec.Record, err error) {
	g.joining.Lock()
	defer g.joining.Unlock()
	if stored != nil && stored.State == sessioncodec.Live && stored.Owner.Epoch > g.epoch {
		g.rival = sessioncodec.Join(g.rival, stored)
		return nil, errOutrun
	}
	for _, c := range g.changes {
		if next, err = c.e.join(stored); err != nil {
			return nil, err
		}
		stored = next
	}
	return next, nil
}

func (g *group) met() *sessioncodec.Record {
	g.joining.Lock()
	defer g.joining.Unlock()
	return g.rival
}

// record is the outcome as far as the nodes let it be known.
func (g *group) record() *sessioncodec.Record { return g.changes[len(g.changes)-1].e.record() }

// mark names the youngest of the values that r, the outcome, has for what the group wrote. It is 0 when that wrote nothing.
func (g *group) mark(r *sessioncodec.Record) uint16 {
	var youngest uint64
	for _, c := range g.changes {
		youngest = max(youngest, c.e.youngest(r))
	}
	if youngest == 0 {
		return 0
	}
	return ring.Mark(youngest)
}

// relabel gives the visitors the session's id.
func (g *group) relabel(id ring.ID) {
	g.id = id
	for _, c := range g.changes {
		c.v.id = id
	}
}

// onto makes the changes on what memory has; once more, where another owner was met: what a node may have taken keeps its stamp, and is merged again
// where somebody else has changed the attribute meanwhile.
func (g *group) onto(st *state) (before *sessioncodec.Record, changed bool, err error) {
	before = g.changes[0].v.recordOf(st)
	g.epoch = before.Owner.Epoch
	if !g.outrun {
		return before, g.on(before), nil
	}
	_, err = g.join(before)
	return before, true, err
}

// settle is the outcome of all.
func (g *group) settle(err error) {
	for _, c := range g.changes {
		c.err = err
	}
}

// fail settles with an error, if there is one.
func (g *group) fail(err error) {
	switch {
	case err == nil:
	case g.outrun && !errors.Is(err, errLockLost):
		g.settle(untold(err))
	default:
		g.settle(err)
	}
}

// follow brings each change into the session that followed this one.
func (g *group) follow(ctx context.Context, h *Handler, old *sessioncodec.Record) {
	for _, c := range g.changes {
		c.err = h.follow(ctx, c.v, old, c.e)
	}
}

// written tells that a node has the changes, whatever their outcome is.
func (g *group) written() {
	for _, c := range g.changes {
		c.err = untold(c.err)
	}
}
