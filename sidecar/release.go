package sidecar

import (
	"context"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	// releaseWait is how long a home lets a running commit end before it tells an asker that it is busy.
	releaseWait = 300 * time.Millisecond
	releasePoll = 2 * time.Millisecond
	// keptFor is how long a released session stays in memory, not served: whoever took it over may die before it wrote.
	keptFor = 10 * time.Minute
)

// hear answers a peer's call, most of them about one session. In shared mode nobody owns it, and only the end of one is news.
func (h *Handler) hear(ctx context.Context, from, call string, m message) (verdict, message) {
	if call == callLeave || call == callRejoin {
		h.pulses.told(from, call == callLeave, time.Now())
		return owned, message{}
	}
	if k, sticky := h.keeper.(*sticky); sticky {
		return k.hear(ctx, call, m)
	}
	return h.strange(ctx, call, m)
}

func (k *sticky) hear(ctx context.Context, call string, m message) (verdict, message) {
	s := k.table.get(m.random)
	if s == nil {
		return k.h.strange(ctx, call, m)
	}
	if call == callHome {
		switch st := s.now.Load(); {
		case st == nil || !st.owned || !k.trusts(s, time.Now()):
			return notMine, message{}
		case k.h.away.Load():
			return goes, message{}
		}
		return owned, message{}
	}
	for deadline := time.Now().Add(releaseWait); !s.mu.TryLock(); time.Sleep(releasePoll) {
		if s.taking.Load() {
			// Two sidecars that take over from each other must not wait for each other (H30): this one promises to end above the
			// asker's epoch, or not to own.
			s.promise.Store(max(s.promise.Load(), m.epoch))
			return notMine, s.testimony(s.now.Load())
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return busy, message{}
		}
	}
	defer s.mu.Unlock()
	st := s.now.Load()
	if s.mu.gone || st == nil {
		return k.h.strange(ctx, call, m)
	}
	switch call {
	case callRelease:
		return k.release(s, st, m)
	case callJoin:
		return k.adopt(s, st, m)
	case callTell:
		k.table.drop(s)
		return k.h.strange(ctx, call, m)
	}
	return notMine, message{}
}

// release stops owning s, whose mu is held. The record stays in memory, not served.
func (k *sticky) release(s *session, st *state, m message) (verdict, message) {
	s.promise.Store(max(s.promise.Load(), m.epoch))
	if !st.owned {
		return notMine, s.testimony(st)
	}
	record := s.recordOf(st)
	k.disown(s, st, record)
	s.touched.Store(time.Now().UnixMilli())
	k.h.count("released")
	return released, message{record: record}
}

// disown keeps the record of a session that is another one's now; st is what s, whose mu is held, was.
func (k *sticky) disown(s *session, st *state, record *sessioncodec.Record) {
	kept := newState(st.id, record, false, st.backed)
	k.remember(s, kept)
	if !st.backed || k.refilling.Load() > 0 {
		k.bequeath(s, kept)
	}
}

// testifies tells whether memory may say that a session lives which is found nowhere: not when another one may have owned it since, and
// ended it. Who was handed it has written it within takeoverWithin, or not at all.
func (s *session) testifies(st *state) bool {
	return st.owned || !st.backed || s.releasedWithin(takeoverWithin)
}

func (s *session) releasedWithin(d time.Duration) bool {
	return time.Since(time.UnixMilli(s.touched.Load())) < d
}

// testimony is what an asker is told of a session that this sidecar does not own, or is about to take over itself.
func (s *session) testimony(st *state) message {
	if st == nil || !s.testifies(st) {
		return message{}
	}
	return message{record: st.record()}
}

// bequeath brings into the ring what memory alone had of a session that it owns no more, and to the owner that is found there: whoever asked for it was told,
// but an answer may not arrive (K4).
func (k *sticky) bequeath(s *session, kept *state) {
	job, id, record := willJob(s.random), kept.id, kept.record()
	var write func(context.Context)
	write = func(ctx context.Context) {
		saved, err := k.h.opts.Store.Save(ctx, id, store.Write{Copies: k.copies(), Wait: store.Both, Refill: true,
			Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
				return sessioncodec.Join(record, stored), nil
			}})
		if err != nil {
			k.h.background.again(job, write)
			return
		}
		s.now.CompareAndSwap(kept, kept.with(id, kept.accessed, true))
		k.give(ctx, id, saved.Record)
	}
	k.h.background.add(job, write)
}

// willJob keeps that apart from the session's touches: one that waits finds that it is not owned, and does nothing.
func willJob(random [16]byte) [16]byte {
	random[3] ^= 0x80
	return random
}

// adopt joins what another sidecar wrote for a session that this one owns.
func (k *sticky) adopt(s *session, st *state, m message) (verdict, message) {
	if !st.owned || m.record == nil || !k.trusts(s, time.Now()) {
		return notMine, message{record: st.record()}
	}
	known := st.record()
	record := sessioncodec.Join(known, m.record)
	k.h.clock.See(record)
	if record.State != sessioncodec.Live || record.Owner != known.Owner {
		k.disown(s, st, record)
		return notMine, message{record: record}
	}
	k.remember(s, newState(st.id, record, true, st.backed))
	return owned, message{record: record}
}

// strange answers for a session that is not in this memory. A tombstone is written to the nodes that this sidecar reaches: the teller may
// not reach them all.
func (h *Handler) strange(ctx context.Context, call string, m message) (verdict, message) {
	if call != callTell || m.record == nil {
		return notMine, message{}
	}
	h.closeOpen(m.random)
	id := ring.ID{Random: m.random, Issued: m.issued}
	saved, err := h.opts.Store.Save(ctx, id, store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(m.record, stored), nil
		}})
	if err != nil || saved.Failed {
		h.owe(id, m.record, nil) // a node that is up here would be asked alone
	}
	if err != nil {
		return busy, message{}
	}
	return owned, message{}
}
