package sidecar

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// epochsLimit bounds the subjects whose epoch is remembered.
const epochsLimit = 100_000

// subjects end all sessions of one subject at once (L6). A session is bound to its subject together with the subject's revocation epoch of
// that moment; a session bound under an older epoch than the subject's present one is over, also when no list names it. The list, kept in
// the same record, serves to show the sessions and to bound their number (L7).
//
// The epoch is the time of the last revocation in milliseconds: were the record lost, a later revocation would still exceed every epoch that
// a session can have been bound under.
type subjects struct {
	h      *Handler
	mu     sync.RWMutex
	epochs map[string]*knownEpoch
}

// knownEpoch is what this sidecar last read of a subject.
type knownEpoch struct {
	mu    mutex // held while reading, so that one request asks for all
	epoch uint64
	read  time.Time
}

func newSubjects(h *Handler) *subjects { return &subjects{h: h, epochs: map[string]*knownEpoch{}} }

// bound reads the subject of a session and the epoch it was bound under.
func bound(r *sessioncodec.Record) (subject string, epoch uint64, ok bool) {
	e, ok := r.FindReserved(reservedSubject)
	if !ok || len(e.Value) <= 8 {
		return "", 0, false
	}
	return string(e.Value[8:]), binary.LittleEndian.Uint64(e.Value), true
}

// binding spells the reserved entry that bound reads.
func binding(subject string, epoch uint64) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, epoch), subject...)
}

// revoked tells whether a session's subject was logged out everywhere after the session was bound to it. While the ring cannot say, what
// was known last holds.
func (s *subjects) revoked(ctx context.Context, subject string, epoch uint64) bool {
	if subject == "" || s.h.opts.Keyed == nil {
		return false
	}
	present, _ := s.epoch(ctx, subject, s.h.opts.Revocation)
	return epoch < present
}

// epoch returns the revocation epoch of a subject, at most that old.
func (s *subjects) epoch(ctx context.Context, subject string, age time.Duration) (uint64, error) {
	known := s.known(subject)
	known.mu.Lock()
	defer known.mu.Unlock()
	if !known.read.IsZero() && time.Since(known.read) <= age {
		return known.epoch, nil
	}
	found, err := s.h.opts.Keyed.LoadKey(ctx, ring.SubjectKey(s.h.opts.Space, subject))
	if err != nil {
		return known.epoch, err
	}
	s.h.clock.See(found.Record)
	known.epoch, known.read = max(known.epoch, epochOf(found.Record)), time.Now()
	return known.epoch, nil
}

// known returns the memory of a subject; at the limit an arbitrary other one is forgotten.
func (s *subjects) known(subject string) *knownEpoch {
	s.mu.RLock()
	k := s.epochs[subject]
	s.mu.RUnlock()
	if k != nil {
		return k
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k = s.epochs[subject]; k == nil {
		for other := range s.epochs {
			if len(s.epochs) < epochsLimit {
				break
			}
			delete(s.epochs, other)
		}
		k = &knownEpoch{}
		s.epochs[subject] = k
	}
	return k
}

// noted brings a session that was just bound into its subject's list, in the background: the list is for looking, the epoch decides.
func (s *subjects) noted(id ring.ID, r *sessioncodec.Record) {
	subject, _, ok := bound(r)
	if !ok || s.h.opts.Keyed == nil {
		return
	}
	ref := ring.Ref(s.h.opts.Space, id.Random)
	born := r.Created
	s.h.background.add(listJob(id.Random), func(ctx context.Context) {
		listed, err := s.change(ctx, subject, func(l *list) { l.put(ref, born) })
		if err != nil {
			s.h.opts.Log.Warn("a subject's list of sessions could not be written", "ref", ref, "error", err)
			return
		}
		s.limit(ctx, subject, listed)
	})
}

// left takes a session that ended out of its subject's list.
func (s *subjects) left(id ring.ID, r *sessioncodec.Record) {
	subject, _, ok := bound(r)
	if !ok || s.h.opts.Keyed == nil {
		return
	}
	ref := ring.Ref(s.h.opts.Space, id.Random)
	s.h.background.add(listJob(id.Random), func(ctx context.Context) {
		_, _ = s.change(ctx, subject, func(l *list) { l.remove(ref) })
	})
}

// listJob keeps the work on a session's list apart from the work on the session itself, its end among that (endJob).
func listJob(random [16]byte) [16]byte {
	random[1] ^= 0x80
	return random
}

// change rewrites a subject's list by the one write primitive, and returns the result.
func (s *subjects) change(ctx context.Context, subject string, change func(*list)) (*sessioncodec.Record, error) {
	now := time.Now()
	var mu sync.Mutex
	saved, err := s.h.opts.Keyed.SaveKey(ctx, ring.SubjectKey(s.h.opts.Space, subject), "", store.Write{
		Copies: sharedCopies, Wait: store.Both, Refill: true, Forget: s.bounded(now),
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			s.h.clock.See(stored)
			l := &list{clock: s.h.clock, record: stored, now: now, lifetime: s.h.opts.Lifetime}
			l.begin()
			change(l)
			return sessioncodec.Join(l.end(), stored), nil
		}})
	return saved.Record, err
}

// limit ends the oldest sessions of a subject that has more than session.per_subject. Only those that still live count.
func (s *subjects) limit(ctx context.Context, subject string, listed *sessioncodec.Record) {
	most := s.h.opts.PerSubject
	refs := refsOf(listed)
	if most == 0 || len(refs) <= most {
		return
	}
	living := 0
	var ended []string
	for _, ref := range refs { // the youngest first
		found, err := s.h.opts.Keyed.LoadKey(ctx, ring.RefKey(s.h.opts.Space, ref))
		if err != nil || found.Record == nil || found.Record.State != sessioncodec.Live || found.Record.Expired(time.Now(), s.h.touch) {
			continue
		}
		if living++; living > most {
			_ = s.h.endByRef(ctx, ref)
			ended = append(ended, ref)
		}
	}
	s.h.forgetAll(ended)
}

// endByRef ends a session in the ring of which only the ref is known. Its memory is for the caller to see to.
func (h *Handler) endByRef(ctx context.Context, ref string) error {
	now := time.Now().UnixMilli()
	tomb := &sessioncodec.Record{State: sessioncodec.Destroyed, Created: now, Accessed: now, Lifetime: uint32(h.opts.Lifetime.Seconds())}
	_, err := h.opts.Keyed.SaveKey(ctx, ring.RefKey(h.opts.Space, ref), "", store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(tomb, stored), nil
		}})
	return err
}

// DestroySubject logs a subject out everywhere: every session bound to it before now is over, within session.revocation_check at every
// sidecar. It returns how many sessions the list named.
func (h *Handler) DestroySubject(ctx context.Context, subject string) (sessions int, err error) {
	s := h.subjects
	var mu sync.Mutex // a write goes on after it was answered
	listed := map[string]bool{}
	revoked := uint64(time.Now().UnixMilli())
	_, err = s.change(ctx, subject, func(l *list) {
		mu.Lock()
		defer mu.Unlock()
		for _, ref := range l.refs() {
			listed[ref] = true
		}
		l.revoke(revoked)
	})
	if err != nil {
		return 0, err
	}
	known := s.known(subject)
	known.mu.Lock()
	known.epoch, known.read = max(known.epoch, revoked), time.Now()
	known.mu.Unlock()
	mu.Lock()
	refs := slices.Sorted(maps.Keys(listed))
	mu.Unlock()
	defer h.forgetAll(refs)
	for _, ref := range refs {
		if err := h.endByRef(ctx, ref); err != nil {
			return len(refs), err
		}
	}
	return len(refs), nil
}
