package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Invariant names what must hold.
type Invariant string

// The invariants. The weak ones hold whatever happens; the others within the promise.
const (
	LostUpdate     Invariant = "lost update"     // an acknowledged change is missing from a later read
	LostSession    Invariant = "lost session"    // a session is gone that nobody ended
	Undead         Invariant = "undead"          // weak: a destroyed session is shown again
	OldID          Invariant = "old id"          // an id from before a renewal writes, or lives on after its grace
	Overwritten    Invariant = "overwritten"     // a value returns that a later write had replaced
	WrongCount     Invariant = "wrong count"     // the locked counter lost or doubled an addition
	ForeignSession Invariant = "foreign session" // weak: a visitor is shown what another one's steps wrote
	Slow           Invariant = "slow"            // weak: a request took longer than it may
	Panicked       Invariant = "panic"           // weak
	Revoked        Invariant = "revoked"         // a session is shown after all of its subject's were ended
	Outlived       Invariant = "outlived"        // a session is shown that nobody used for its idle time
	Leak           Invariant = "leak"            // weak: memory keeps a session that nobody uses
	Hoard          Invariant = "hoard"           // weak: a stored session remembers more deletions than it may
)

// Weak tells whether the invariant holds outside the promise as well.
func (i Invariant) Weak() bool {
	return slices.Contains([]Invariant{Undead, ForeignSession, Slow, Panicked, Leak, Hoard}, i)
}

// Violation is a broken invariant and the request that showed it.
type Violation struct {
	Invariant
	Why string
	At  *Observation
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s\n\tby %s", v.Invariant, v.Why, v.At) }

// slowest is how long a request may take beside the app's own time: the wait for the lock, a look-up with a takeover that meets frozen
// nodes and may have to fence twice, the commit, which may too, and the way there and back. One that was forwarded into a partition waits
// for its end as well.
const slowest = 6 * time.Second

// lineage is one session through its renewals, as its visitor knows it.
type lineage struct {
	visitor int
	revokes []*Observation // of its visitor's subject
	uses    []*Observation // that reached the app with it
	acts    []*Observation // that changed it, or wanted to, in the order of their ends
}

// court judges one history.
type court struct {
	w          *world
	sessions   map[string]*lineage    // by the part of an id that never changes
	revokes    map[int][]*Observation // by visitor
	violations []Violation
}

// session is the part of an id that never changes.
func session(id string) string {
	if len(id) < 32 {
		return ""
	}
	return id[:32]
}

func judge(w *world) []Violation {
	c := &court{w: w, sessions: map[string]*lineage{}, revokes: map[int][]*Observation{}}
	slices.SortStableFunc(w.observations, func(a, b *Observation) int { return int(a.End - b.End) })
	for _, o := range w.observations {
		if o.deed.revoke {
			c.revokes[o.Visitor] = append(c.revokes[o.Visitor], o)
		}
	}
	for _, o := range w.observations {
		c.file(o)
	}
	for _, o := range w.observations {
		c.hear(o)
	}
	if w.leftover > 0 {
		c.blame(w.observations[0], Leak, "%d sessions are in memory long after their idle time", w.leftover)
	}
	if w.hoarded > mostDeletions {
		c.blame(w.observations[0], Hoard, "a session remembers %d deletions of long ago", w.hoarded)
	}
	return slices.DeleteFunc(c.violations, func(v Violation) bool { return !w.scenario.promises(v.Invariant) })
}

// promises tells whether the invariant must hold under the faults of this scenario.
func (s *Scenario) promises(i Invariant) bool {
	if !s.Promised && !i.Weak() {
		return false
	}
	if i != Undead && i != OldID {
		return true
	}
	// Two sidecars own a session at once where a front sends its visitor to both and neither asks the other.
	if s.Sticky && !s.Peers && s.Front != Pinned {
		return false
	}
	// A home that is killed before it has brought an end to a node that was silent leaves no note.
	return !s.Sticky || !slices.ContainsFunc(s.Faults, func(silent Fault) bool {
		return silent.silences() && slices.ContainsFunc(s.Faults, func(kill Fault) bool {
			return kill.Kind == KillSidecar && kill.At > silent.At && kill.At < silent.At+silent.For+bringing
		})
	})
}

// bringing is how long after a node's silence a sidecar may still owe it something.
const bringing = 3 * time.Second

func (c *court) blame(o *Observation, i Invariant, format string, args ...any) {
	c.violations = append(c.violations, Violation{i, fmt.Sprintf(format, args...), o})
}

// file finds out which session a request changed.
func (c *court) file(o *Observation) {
	l := c.sessions[session(o.Shown)]
	fresh := len(o.set) > 1 && c.sessions[session(o.set)] == nil
	switch {
	case o.acted() && !o.seen.loaded && fresh && !o.Cut:
		l = &lineage{visitor: o.Visitor, revokes: c.revokes[o.Visitor]}
		c.sessions[session(o.set)] = l
	case o.acted() && !o.seen.loaded:
		return // born, perhaps, but nobody has its id
	case fresh && l != nil:
		c.sessions[session(o.set)] = l // renewed
	}
	if l != nil && o.reached {
		l.uses = append(l.uses, o)
	}
	if l != nil && o.acted() {
		l.acts = append(l.acts, o)
	}
}

// hear judges what one request saw and got.
func (c *court) hear(o *Observation) {
	if o.panicked != "" {
		c.blame(o, Panicked, "%s", o.panicked)
	}
	most := slowest
	for _, f := range c.w.scenario.Faults {
		if f.Kind == Partition {
			most += f.For
		}
	}
	if took := o.End - o.Start - o.App; took > most {
		c.blame(o, Slow, "it took %v", took)
	}
	l := c.sessions[session(o.Shown)]
	if !o.reached || l == nil {
		return
	}
	if o.Kind == Expired {
		if o.seen.loaded {
			c.blame(o, Outlived, "nobody used it for %v", idle)
		}
		return
	}
	if !o.seen.loaded {
		if o.Kind != Ghost && !c.mayEnd(l, o) { // nobody used the ghost's id, so it may be expired
			c.blame(o, LostSession, "the app saw none")
		}
		return
	}
	for _, r := range l.revokes {
		if o.Kind != Usual && r.status == 200 && !r.Cut && r.End+revocation+time.Second < o.Start && l.over(r) {
			c.blame(o, Revoked, "#%d ended all sessions of its subject at %v", r.N, r.End)
			return
		}
	}
	c.compare(o, l)
	for name := range o.seen.names {
		if !c.wrote(o.Visitor, name) {
			c.blame(o, ForeignSession, "%s was written by no step of this visitor", name)
		}
	}
}

func (c *court) wrote(visitor int, name string) bool {
	return slices.ContainsFunc(c.w.scenario.Steps, func(s Step) bool {
		return s.Visitor == visitor && strings.TrimLeft(name, "fdk") == fmt.Sprint(s.N)
	})
}

// mayEnd tells whether a session's end was asked for before the app saw that it has none.
func (c *court) mayEnd(l *lineage, o *Observation) bool {
	if o.Start-l.used(o) > c.w.scenario.Idle {
		return true
	}
	if l.bound(o.seenAt) && slices.ContainsFunc(l.revokes, func(r *Observation) bool { return r.Start < o.seenAt }) {
		return true
	}
	return slices.ContainsFunc(l.acts, func(a *Observation) bool {
		if a.deed.renew && session(a.Shown) == session(o.Shown) { // it is read for its grace, and the clocks differ
			return a.Start+renewGrace-time.Second < o.seenAt
		}
		return a.Start < o.seenAt && a.deed.destroy
	})
}

// used is when somebody used the session of o last before that.
func (l *lineage) used(o *Observation) (last time.Duration) {
	for _, u := range l.uses {
		if session(u.Shown) == session(o.Shown) || session(u.set) == session(o.Shown) {
			if u.End < o.Start && (u.seen.loaded || u.acted()) {
				last = max(last, u.End)
			}
		}
	}
	return last
}

// bound tells whether somebody may have logged in to the session before that time.
func (l *lineage) bound(by time.Duration) bool {
	return slices.ContainsFunc(l.acts, func(a *Observation) bool { return a.deed.login && a.Start < by })
}

// over tells whether revocation r must have ended the session: it was bound before, and not again since.
func (l *lineage) over(r *Observation) bool {
	before := slices.ContainsFunc(l.acts, func(a *Observation) bool { return a.deed.login && a.acked() && a.End < r.Start })
	return before && !slices.ContainsFunc(l.acts, func(a *Observation) bool { return a.deed.login && a.End >= r.Start })
}

// compare holds what a request saw against what its session's changes say.
func (c *court) compare(o *Observation, l *lineage) {
	frozen, ending := false, false
	for _, a := range l.acts {
		switch {
		case a.deed.destroy && a.acked() && a.End < o.Start:
			c.blame(o, Undead, "it was destroyed by #%d at %v", a.N, a.End)
			return
		case a.deed.destroy:
			ending = ending || a.Start < o.seenAt
		case a.deed.renew && session(a.Shown) == session(o.Shown):
			frozen = frozen || a.Start < o.seenAt
			c.old(o, a)
		}
	}
	if frozen || ending || o.Kind == Ghost || o.Kind == Usual && !c.fresh(o) {
		return
	}
	for _, a := range l.acts {
		if a.acked() && a.End < o.Start {
			c.expect(o, a, l)
		}
	}
	if o.Kind == Last {
		c.count(o, l)
	}
}

// fresh tells whether a read must show what was acknowledged before. In shared mode not where requests of one visitor overlap, for an answer
// with an older cookie may have come last; not before it is noticed that a node has lost its memory: a refill that was under way may have met
// the write; and with an asynchronous commit not while two nodes pause in turn: it is not known then whether the second one has a change.
func (c *court) fresh(o *Observation) bool {
	s := c.w.scenario
	switch {
	case s.Sticky:
		return true
	case s.Parallel[o.Visitor], s.Commit == sidecar.Async && len(around(s.Faults, o, Fault.silences)) > 1:
		return false
	}
	return len(around(s.Faults, o, Fault.forgets)) == 0
}

// around are the faults of a kind that an observation falls into, or that ended a second before it.
func around(faults []Fault, o *Observation, kind func(Fault) bool) []Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool {
		return !kind(f) || o.seenAt <= settle+f.At || o.seenAt >= settle+f.At+f.For+time.Second
	})
}

// old judges the use of an id from before renewal a.
func (c *court) old(o, a *Observation) {
	if !c.renewed(a) || a.End > o.Start || len(a.set) < 2 || session(a.set) == session(a.Shown) { // without a new id it found its session ended
		return
	}
	if o.acked() && !o.deed.destroy {
		c.blame(o, OldID, "it wrote after renewal #%d", a.N)
	}
	if o.Start > a.End+renewGrace+time.Second { // the clocks differ
		c.blame(o, OldID, "it reads %v after renewal #%d", o.Start-a.End, a.N)
	}
}

// renewed tells whether the renewal a was made, though its client may have left before it heard of that.
func (c *court) renewed(a *Observation) bool {
	died := slices.ContainsFunc(c.w.scenario.Faults, func(f Fault) bool { return f.Kind == KillSidecar })
	return a.acked() || a.acted() && a.status == 200 && !died
}

// expect wants to see in o what a did and was acknowledged for.
func (c *court) expect(o, a *Observation, l *lineage) {
	for _, name := range a.deed.adds {
		if !o.seen.names[name] && !l.deletes(name, o) {
			c.blame(o, LostUpdate, "%s is missing, acknowledged at %v to #%d", name, a.End, a.N)
		}
	}
	if name := a.deed.deletes; name != "" && o.seen.names[name] {
		c.blame(o, LostUpdate, "%s is back, its deletion was acknowledged at %v to #%d", name, a.End, a.N)
	}
	if a.deed.counter > o.seen.counter {
		c.blame(o, LostUpdate, "the counter is %d, %d was acknowledged at %v to #%d", o.seen.counter, a.deed.counter, a.End, a.N)
	}
	if a.deed.register != 0 {
		c.register(o, a, l)
	}
}

// register wants no value that the acknowledged write a had replaced.
func (c *court) register(o, a *Observation, l *lineage) {
	if o.seen.register == 0 {
		c.blame(o, LostUpdate, "the register is empty, %d was acknowledged at %v", a.N, a.End)
		return
	}
	for _, b := range l.acts {
		if b.N == o.seen.register && b.acked() && b.End < a.Start {
			c.blame(o, Overwritten, "#%d shows, acknowledged before #%d began to replace it", b.N, a.N)
		}
	}
}

// deletes tells whether a step may have deleted name before o was served.
func (l *lineage) deletes(name string, o *Observation) bool {
	return slices.ContainsFunc(l.acts, func(a *Observation) bool { return a.deed.deletes == name && a.Start < o.seenAt })
}

// count wants each acknowledged addition once. One that was refused, or whose answer did not come, may be in or not.
func (c *court) count(o *Observation, l *lineage) {
	acked, unsure := 0, 0
	by := map[int]int{}
	for _, a := range l.acts {
		switch {
		case a.deed.counter == 0 || a.End >= o.Start:
		case !a.acked():
			unsure++
		default:
			acked++
			if other := by[a.deed.counter]; other != 0 {
				c.blame(o, WrongCount, "#%d and #%d both counted to %d", other, a.N, a.deed.counter)
			}
			by[a.deed.counter] = a.N
		}
	}
	if o.seen.counter < acked || o.seen.counter > acked+unsure {
		c.blame(o, WrongCount, "it is %d after %d additions and %d unsure ones", o.seen.counter, acked, unsure)
	}
}

func sortedNames(names map[string]bool) []string { return slices.Sorted(maps.Keys(names)) }
