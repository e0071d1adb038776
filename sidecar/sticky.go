package sidecar

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// sticky keeps sessions in memory, each at its home; the ring is their backup. A commit holds the session's mutex, so that the
// commits of one session follow each other; different sessions never wait for each other.
type sticky struct {
	h     *Handler
	table *table

	refilling atomic.Int32 // while a refill runs, that the ring had a session says little
}

// find serves from memory what this process owns, and takes over everything else.
func (k *sticky) find(ctx context.Context, v *visit) error {
	now := v.at()
	if s := k.at(v); s != nil {
		if st := s.now.Load(); st.owns(v.id) && !s.expired(st, now, k.h.touch) && k.trusts(s, now) {
			k.serve(v, s, st, now)
			return nil
		}
	}
	s := k.table.lock(v.id.Random)
	defer s.mu.Unlock()
	st, err := k.own(ctx, s, v.id) // first: that nobody used it here means nothing where another sidecar owns it by now
	switch {
	case err != nil || st == nil:
		k.discard(s)
		return err
	case st.owned && s.expired(st, now, k.h.touch):
		k.h.count("expired")
		k.table.drop(s)
	case st.owned:
		k.serve(v, s, st, now)
	case st.is == sessioncodec.Live: // and nobody's: it was expired when the owner had been asked, which may be later than now
		k.table.drop(s)
	default:
		k.table.drop(s)
		k.h.meet(v, st.record(), now)
	}
	return nil
}

// at is where memory has the session of v; its spelling may know. That is no promise: it may be gone from there by now, and empty.
func (k *sticky) at(v *visit) *session {
	if v.spelling != nil && v.spelling.home != nil {
		return v.spelling.home
	}
	return k.table.get(v.id.Random)
}

func (k *sticky) serve(v *visit, s *session, st *state, now time.Time) {
	s.accessed.Store(now.UnixMilli())
	v.id, v.accessed, v.home = st.id, now.UnixMilli(), s
	k.h.spell(v, &st.packed[0], st.record)
	since := time.Duration(now.UnixMilli()-s.touched.Load()) * time.Millisecond
	if since > k.h.touch || !st.backed && since > backUpWithin+backgroundRetry { // by then it was tried
		k.touch(s, now)
	}
}

// own makes sure that s, whose mu is held, is served by this process alone; shown is the id that the client has. A state that is not
// owned says why: destroyed or superseded. No state: the session is absent.
func (k *sticky) own(ctx context.Context, s *session, shown ring.ID) (*state, error) {
	if st := s.now.Load(); st.owns(shown) {
		if k.trusts(s, time.Now()) {
			return st, nil
		}
		if st, err := k.verify(ctx, s, st); err != nil || st.owns(shown) {
			return st, err
		}
	}
	return k.takeOver(ctx, s, shown)
}

// verify looks in the ring whether s is still this process's, when memory may not be trusted (K8). s.mu is held.
func (k *sticky) verify(ctx context.Context, s *session, st *state) (*state, error) {
	found, err := k.h.load(ctx, st.id, store.Everywhere)
	if unknown := (*store.UnknownError)(nil); errors.As(err, &unknown) && unknown.All && !k.h.opts.Refuse {
		return st, nil
	}
	if err != nil {
		return nil, err
	}
	known := st.record()
	record := sessioncodec.Join(known, found.Record)
	mine := record.State == sessioncodec.Live && record.Owner == known.Owner
	next := newState(st.id, record, mine, st.backed)
	k.remember(s, next)
	if mine {
		s.confirm()
	}
	return next, nil
}

// commit keeps the changes of a group in the ring and then in memory: a patch is visible when its commit has ended, not before. One that meets
// another owner is made again when the session is this process's once more (K6).
func (k *sticky) commit(ctx context.Context, g *group) {
	s := k.table.lock(g.id.Random)
	defer s.mu.Unlock()
	for range takeoverRounds {
		st, err := k.own(ctx, s, g.id)
		switch {
		case err != nil:
			k.discard(s)
			g.fail(err)
			return
		case st != nil && st.is == sessioncodec.Superseded:
			k.table.drop(s)
			g.follow(ctx, k.h, st.record())
			return
		case st == nil || !st.owned:
			k.table.drop(s)
			g.fail(errGone)
			return
		}
		g.relabel(st.id)
		before, changed, err := g.onto(st)
		if err == nil && changed {
			err = k.keep(ctx, s, before, g)
		}
		if !errors.Is(err, errOutrun) {
			g.fail(err)
			return
		}
		g.outrun = true
	}
	g.fail(errBusy)
}

// keep writes the edited record and takes what the ring answers into memory; s.mu is held.
func (k *sticky) keep(ctx context.Context, s *session, before *sessioncodec.Record, g *group) error {
	if !k.table.room() {
		return errOverload
	}
	if k.h.async() {
		k.have(s, g, g.record(), false)
		k.soon(s)
		return nil
	}
	l := &landing{s: s}
	saved, err := k.h.save(ctx, g.id, store.Write{
		Join: g.join, Forget: g.forget, Copies: k.copies(), Wait: k.wait(), Refill: true, Birth: g.born, Done: l.done,
	})
	switch {
	case errors.Is(err, errOutrun):
		return k.lose(s, g.met())
	case errors.Is(err, store.ErrIsolated) && !k.h.opts.Refuse && k.h.opts.Commit == BeforeReply && k.h.trusted(time.Now()):
		k.h.opts.Metrics.Commits.WithLabelValues("isolated").Inc()
		k.have(s, g, g.record(), false)
		k.later(s)
		err = nil
	case err != nil:
		return err
	case k.h.opts.Commit == All && saved.Short:
		return store.ErrUnacknowledged
	default:
		err = k.took(ctx, s, before, saved, g)
	}
	l.remembered()
	return err
}

// landing is a write of what s takes into memory, whose last copy may come before that and after.
type landing struct {
	s     *session
	whole atomic.Bool // every copy has come
	kept  atomic.Pointer[state]
}

func (l *landing) done(saved store.Saved, err error) {
	l.whole.Store(err == nil && !saved.Short)
	l.settle()
}

// remembered is told when memory has the outcome; l.s.mu is held.
func (l *landing) remembered() {
	l.kept.Store(l.s.now.Load())
	l.settle()
}

// settle notes that the ring has what memory has, once both is so. A later commit speaks for itself.
func (l *landing) settle() {
	if st := l.kept.Load(); st != nil && l.whole.Load() && !st.backed {
		l.s.now.CompareAndSwap(st, st.with(st.id, st.accessed, true))
	}
}

// took joins the result of a write into memory and looks at what it means for the session.
func (k *sticky) took(ctx context.Context, s *session, before *sessioncodec.Record, saved store.Saved, g *group) error {
	record := g.forget(sessioncodec.Join(saved.Record, before)) // which mostly is the former
	switch {
	case record.State == sessioncodec.Destroyed:
		k.table.drop(s)
		return errGone
	case record.State == sessioncodec.Superseded:
		k.table.drop(s)
		g.follow(ctx, k.h, record)
		g.written()
		return nil
	case record.Owner != k.h.owner(record.Owner.Epoch):
		return k.lose(s, record)
	}
	g.relabel(k.h.relabel(g.id, saved.Node))
	k.have(s, g, record, !saved.Short)
	s.confirm()
	s.touched.Store(time.Now().UnixMilli())
	return nil
}

// have takes the outcome of a group into s, whose mu is held.
func (k *sticky) have(s *session, g *group, record *sessioncodec.Record, backed bool) {
	st := newState(g.id, record, true, backed)
	k.remember(s, st)
	k.h.expect(g.changes[0].v, s, st, record)
}

// birth keeps a new session under v.id.
func (k *sticky) birth(ctx context.Context, v *visit, e *edit) error {
	s := k.table.lock(v.id.Random)
	defer s.mu.Unlock()
	s.accessed.Store(e.now)
	err := k.keep(ctx, s, e.mine, single(v, e))
	if err != nil {
		k.table.drop(s)
	}
	return err
}

// hold stops the session's commits until release, and returns its newest record, nil when it is gone. Release is told whether the
// session ended meanwhile.
func (k *sticky) hold(ctx context.Context, v *visit) (*sessioncodec.Record, func(ended bool), error) {
	s := k.table.lock(v.id.Random)
	st, err := k.own(ctx, s, v.id)
	release := func(ended bool) {
		if ended {
			k.table.drop(s)
		}
		k.discard(s)
		s.mu.Unlock()
	}
	if err != nil || st == nil {
		return nil, release, err
	}
	v.id = st.id
	return st.record(), release, nil
}

// discard drops s, whose mu is held, when it holds nothing. What memory knows stays while the ring cannot say more: it may be all that is
// left of a session.
func (k *sticky) discard(s *session) {
	if s.now.Load() == nil {
		k.table.drop(s)
	}
}

// forget drops a session that ended elsewhere than in hold.
func (k *sticky) forget(random [16]byte) {
	s := k.table.lock(random)
	k.table.drop(s)
	s.mu.Unlock()
}

// wait is which copies an answer waits for. A home that is fenced, or may be, waits for both: whoever takes over from it does not wait for what is
// under way, and may take just that node for down which has the change.
func (k *sticky) wait() store.Wait {
	if k.h.opts.Commit == All || !k.h.trusted(time.Now()) {
		return store.Both
	}
	return store.First
}

// remember replaces the state of s, whose mu is held.
func (k *sticky) remember(s *session, st *state) { k.table.set(s, st) }
