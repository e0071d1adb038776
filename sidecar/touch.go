package sidecar

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// refillPace is how many sessions a second are offered to a node that came back empty: a full memory takes a while, and requests
// come first.
const refillPace = 500

// Where answers do not wait for the ring, it is given backUpPace sessions a second, or as many as it takes that none waits longer than backUpWithin.
const (
	backUpPace   = 1000
	backUpWithin = time.Second
)

// later writes s to the ring in the background: what memory has and no node took, or has to take before this sidecar leaves.
func (k *sticky) later(s *session) {
	k.h.background.add(s.random, func(ctx context.Context) { k.backUp(ctx, s, false) })
}

// soon is later for an asynchronous commit. What comes close together goes in one write: while more sessions change than backUpPace in a second,
// each waits for its turn.
func (k *sticky) soon(s *session) {
	if k.h.away.Load() {
		k.later(s)
		return
	}
	job := paceJob(s.random)
	wait, waits := k.h.background.turn(job, time.Now())
	if waits {
		return
	}
	paced := wait > 0 && k.h.background.after(wait, job, func(ctx context.Context) {
		if s.owes() { // else something else has written it meanwhile
			k.backUp(ctx, s, false)
		}
	})
	if !paced {
		k.later(s)
	}
}

// paceJob keeps a write that waits for its time apart from one that failed and is tried again.
func paceJob(random [16]byte) [16]byte {
	random[2] ^= 0x80
	return random
}

// touch refreshes s in the ring (K12): reads every node, joins, and refills what is missing or behind. So traffic that only reads
// restores lost copies, and notices a logout or a takeover that happened elsewhere.
func (k *sticky) touch(s *session, now time.Time) {
	s.touched.Store(now.UnixMilli())
	k.h.opts.Metrics.Touches.Inc()
	k.h.background.add(s.random, func(ctx context.Context) { k.backUp(ctx, s, true) })
}

func (k *sticky) backUp(ctx context.Context, s *session, everywhere bool) {
	st := s.now.Load()
	if st == nil || !st.owned {
		return
	}
	var seen *sessioncodec.Record
	if everywhere {
		found, err := k.h.load(ctx, st.id, store.Everywhere)
		if err != nil {
			k.h.background.again(s.random, func(ctx context.Context) { k.backUp(ctx, s, true) })
			return
		}
		seen = found.Record
	}
	mine := s.recordOf(st)
	forget := k.h.forgetting(time.Now())
	offer := sessioncodec.Join(mine, seen)
	saved, err := k.h.opts.Store.Save(ctx, st.id, store.Write{Copies: k.copies(), Wait: store.Both, Refill: true, Forget: forget,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(offer, stored), nil
		}})
	if err != nil {
		k.h.background.again(s.random, func(ctx context.Context) { k.backUp(ctx, s, everywhere) })
		return
	}
	saved.Record = sessioncodec.Join(offer, saved.Record)
	k.learnt(s, st, mine, saved, forget)
}

// recordOf is the record of st, which is or was the state of s, with the last access that this memory knows.
func (s *session) recordOf(st *state) *sessioncodec.Record {
	r := st.record()
	r.Accessed = max(r.Accessed, s.accessed.Load())
	return r
}

// learnt takes what a background write of a state, which holds mine, saw into memory; the session may have changed meanwhile.
func (k *sticky) learnt(s *session, wrote *state, mine *sessioncodec.Record, saved store.Saved, forget func(*sessioncodec.Record) *sessioncodec.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.now.Load()
	if st == nil || !st.owned {
		return
	}
	if st != wrote {
		mine = s.recordOf(st)
	}
	record := forget(sessioncodec.Join(mine, saved.Record))
	k.h.clock.See(record)
	if record.State != sessioncodec.Live || record.Owner != k.h.owner(record.Owner.Epoch) {
		// Destroyed, renewed or taken over elsewhere. The nodes have what this memory knew, and so shall the owner's memory (K4).
		k.table.drop(s)
		if record.State == sessioncodec.Destroyed {
			k.h.closeOpen(s.random)
		}
		k.h.background.add(s.random, func(ctx context.Context) { k.give(ctx, st.id, record) })
		return
	}
	unchanged := bytes.Equal(st.packed, wrote.packed)
	id, backed := k.h.relabel(st.id, saved.Node), unchanged && !saved.Short
	if record == mine { // but for the last access that is what memory has
		k.remember(s, st.with(id, record.Accessed, backed))
	} else {
		k.remember(s, newState(id, record, true, backed))
	}
	s.confirm()
	s.touched.Store(time.Now().UnixMilli())
	if !unchanged {
		k.soon(s)
	}
}

// refill offers every owned session to the ring at an even pace, after a node lost its memory: first those that were used last, for
// a large memory takes a while and they are the ones that come back soonest.
func (k *sticky) refill(ctx context.Context) {
	k.refilling.Add(1)
	defer k.refilling.Add(-1)
	pace := time.NewTicker(time.Second / refillPace)
	defer pace.Stop()
	sessions := k.table.all()
	slices.SortFunc(sessions, func(a, b *session) int {
		return cmp.Or(cmp.Compare(b.accessed.Load(), a.accessed.Load()), bytes.Compare(a.random[:], b.random[:]))
	})
	for _, s := range sessions {
		if st := s.now.Load(); st == nil || !st.owned {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case now := <-pace.C:
			k.touch(s, now)
		}
	}
}

// sweep drops expired sessions from memory, one shard a second.
func (k *sticky) sweep(now time.Time, turn int) {
	sh := &k.table.shards[turn%tableShards]
	sh.mu.RLock()
	var expired []*session
	for _, s := range sh.sessions {
		if st := s.now.Load(); st != nil && k.over(s, st, now) {
			expired = append(expired, s)
		}
	}
	sh.mu.RUnlock()
	for _, s := range expired {
		if !s.mu.TryLock() {
			continue
		}
		if st := s.now.Load(); st != nil && k.over(s, st, now) {
			k.table.drop(s)
			if st.owned {
				k.h.count("expired")
			}
		}
		s.mu.Unlock()
	}
}

// over tells whether memory has no more use for s: it expired, or was released long ago.
func (k *sticky) over(s *session, st *state, now time.Time) bool {
	return s.expired(st, now, k.h.touch) || !st.owned && now.UnixMilli()-s.touched.Load() > keptFor.Milliseconds()
}
