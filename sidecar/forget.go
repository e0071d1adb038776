package sidecar

import (
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// A deleted attribute keeps its stamp while an older value of it may still turn up, or the join would bring that back. Older values come from
//
//   - a write under way: it carries what its request loaded, unless that is older than lateAfter (see edit.late), and ends within commitWithin;
//   - a copy on a node that was away: an item that nobody rewrites is gone after idle time and slack, and whoever rewrites it joins;
//   - the memory of a sidecar that was cut off: it keeps a session that it released for keptFor. Once it is back it joins what it keeps for no
//     longer than lateAfter.
//
// So the stamp is dropped when it is older than all of these. An app that deletes without end must not grow its session without bound: of the
// stamps that no write under way can need, only the youngest stay. What is then not covered is in docs/failure-modes.md.
const (
	lateAfter    = 30 * time.Second
	deletedLeast = lateAfter + 3*commitWithin // a group waits, is followed, and is written
	deletedMost  = 256
	deletedSlack = keptFor + 5*time.Minute
)

// forgetting returns what drops the stamps of deleted attributes that cannot matter now. It gives the same for the same record: a write asks
// it for each copy.
func (h *Handler) forgetting(now time.Time) func(*sessioncodec.Record) *sessioncodec.Record {
	return func(r *sessioncodec.Record) *sessioncodec.Record {
		if r == nil || !slices.ContainsFunc(r.Entries, func(e sessioncodec.Entry) bool { return e.Kind == sessioncodec.Deleted }) {
			return r
		}
		idle := max(h.opts.Idle, time.Duration(r.Idle)*time.Second)
		horizon := clockAt(now.Add(-idle - deletedSlack))
		if most := nthYoungestDeleted(r, deletedMost); most > horizon {
			horizon = min(most, clockAt(now.Add(-deletedLeast)))
		}
		outlived := func(e sessioncodec.Entry) bool { return e.Kind == sessioncodec.Deleted && e.Stamp.Clock <= horizon }
		if !slices.ContainsFunc(r.Entries, outlived) {
			return r
		}
		kept := *r
		kept.Entries = slices.DeleteFunc(slices.Clone(r.Entries), outlived)
		return &kept
	}
}

// nthYoungestDeleted is the clock of the youngest deletion that n others are younger than, 0 when there are not so many.
func nthYoungestDeleted(r *sessioncodec.Record, n int) uint64 {
	var clocks []uint64
	for _, e := range r.Entries {
		if e.Kind == sessioncodec.Deleted {
			clocks = append(clocks, e.Stamp.Clock)
		}
	}
	if len(clocks) <= n {
		return 0
	}
	slices.Sort(clocks)
	return clocks[len(clocks)-1-n]
}

func clockAt(t time.Time) uint64 { return uint64(max(t.UnixMilli(), 0)) }
