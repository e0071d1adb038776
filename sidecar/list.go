package sidecar

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	reservedEpoch = "epoch"
	listLimit     = 256
)

// list is a subject's record while it is changed: an attribute for each session, its ref with the time of its birth, and the revocation epoch
// as a reserved entry. It is a record like a session's, so that copies join: who leaves the list is a deletion there, and what need not be stored
// is dropped after the join.
type list struct {
	clock    *Clock
	record   *sessioncodec.Record
	now      time.Time
	lifetime time.Duration
}

// begin makes a new record where there is none.
func (l *list) begin() {
	if l.record == nil {
		l.record = &sessioncodec.Record{Created: l.now.UnixMilli(), Lifetime: math.MaxUint32}
		l.clock.See(l.record)
	}
}

// end returns the record, kept in the ring as long as a session can live.
func (l *list) end() *sessioncodec.Record {
	r := *l.record
	r.Accessed, r.Idle = max(r.Accessed, l.now.UnixMilli()), uint32(l.lifetime.Seconds())
	return &r
}

func (l *list) put(ref string, born int64) {
	had, _ := l.record.Find(ref)
	l.record = l.record.With(sessioncodec.Entry{Name: ref, Value: strconv.AppendInt(nil, born, 10), Stamp: l.clock.NextIn(l.record, had.Stamp)})
}

func (l *list) remove(ref string) {
	if had, ok := l.record.Find(ref); ok {
		l.record = l.record.With(sessioncodec.Entry{Name: ref, Kind: sessioncodec.Deleted, Stamp: l.clock.NextIn(l.record, had.Stamp)})
	}
}

// revoke raises the epoch, which empties the list.
func (l *list) revoke(epoch uint64) {
	had, _ := l.record.FindReserved(reservedEpoch)
	value := strconv.AppendUint(nil, max(epoch, epochOf(l.record)+1), 10)
	l.record = l.record.With(sessioncodec.Entry{Name: reservedEpoch, Kind: sessioncodec.Reserved, Value: value, Stamp: l.clock.NextIn(l.record, had.Stamp)})
}

// bounded returns what drops from a list the sessions past their lifetime, those listed before the last revocation, and of too many the oldest.
func (s *subjects) bounded(now time.Time) func(*sessioncodec.Record) *sessioncodec.Record {
	forget, oldest := s.h.forgetting(now), now.Add(-s.h.opts.Lifetime).UnixMilli()
	return func(r *sessioncodec.Record) *sessioncodec.Record {
		if r == nil {
			return nil
		}
		revoked, _ := r.FindReserved(reservedEpoch)
		youngest := refsOf(r)
		youngest = youngest[:min(len(youngest), listLimit)]
		over := func(e sessioncodec.Entry) bool {
			return e.Kind == sessioncodec.JSON && (bornAt(e) <= oldest || e.Stamp.Compare(revoked.Stamp) < 0 || !slices.Contains(youngest, e.Name))
		}
		if slices.ContainsFunc(r.Entries, over) {
			kept := *r
			kept.Entries = slices.DeleteFunc(slices.Clone(r.Entries), over)
			r = &kept
		}
		return forget(r)
	}
}

func (l *list) refs() []string { return refsOf(l.record) }

// refsOf lists the sessions, the youngest first.
func refsOf(r *sessioncodec.Record) []string {
	if r == nil {
		return nil
	}
	var entries []sessioncodec.Entry
	for _, e := range r.Entries {
		if e.Kind == sessioncodec.JSON {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b sessioncodec.Entry) int { return cmp.Compare(bornAt(b), bornAt(a)) })
	refs := make([]string, len(entries))
	for i, e := range entries {
		refs[i] = e.Name
	}
	return refs
}

func bornAt(e sessioncodec.Entry) int64 {
	n, _ := strconv.ParseInt(string(e.Value), 10, 64)
	return n
}

// epochOf is the revocation epoch in a subject's record, 0 when it has never been revoked.
func epochOf(r *sessioncodec.Record) uint64 {
	if r == nil {
		return 0
	}
	e, ok := r.FindReserved(reservedEpoch)
	if !ok {
		return 0
	}
	n, _ := strconv.ParseUint(string(e.Value), 10, 64)
	return n
}
