package sim

import (
	"math/rand/v2"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Plots is the last seed without a plot.
const Plots = 10_000_000

// Plot is a history with a subject: what is too rare among faults and steps that are drawn one by one.
type Plot uint8

// The plots.
const (
	None      Plot = iota
	Emptied        // a node comes back empty, and another one pauses before everything is on two nodes again
	Contest        // a sidecar is cut off from the others while visitors write through all of them without pause
	Warm           // a node comes back with the memory that it had, and another one pauses
	Clocks         // one sidecar's clock is wrong by ten minutes
	Forgotten      // more is deleted than a session remembers
	Renewals       // renewals whose answers get lost
)

// plot draws the faults and steps of a plot.
func (s *Scenario) plot(r *rand.Rand) {
	s.Promised, s.Commit, s.Plot = true, sidecar.BeforeReply, pick(r, Emptied, Contest, Warm, Warm, Clocks, Clocks, Forgotten, Renewals)
	if s.Sticky && !s.Peers {
		s.Front = Pinned // sidecars that do not ask each other need it
	}
	switch s.Plot {
	case Emptied:
		s.emptied(r)
	case Contest:
		s.contest(r)
	case Warm:
		s.warm(r)
	case Clocks:
		s.clocks(r)
	case Forgotten:
		s.forgotten(r)
	case Renewals:
		s.renewals(r)
	}
}

// emptied: the pause begins when the node has lost its memory, or later; what the visitors wrote until then the other node has.
func (s *Scenario) emptied(r *rand.Rand) {
	f := s.fault(r, pick(r, KillNode, FlushNode, ChangeRing), time.Second)
	f.For = duration(r, time.Millisecond, 800*time.Millisecond)
	empty := f.At
	if f.Kind == ChangeRing {
		empty += spread + f.For
	}
	c := s.fault(r, FreezeNode, empty+duration(r, 50*time.Millisecond, f.For+time.Second))
	c.Node = (f.Node + 1 + r.IntN(s.Nodes-1)) % s.Nodes
	s.Faults = []Fault{f, c}
	s.drawSteps(r)
}

// contest: the owner is cut off, fenced and taken from while it commits, and may be slow at that. What it acknowledges from then on must not be
// missing at the new owner.
func (s *Scenario) contest(r *rand.Rand) {
	s.Sticky, s.Peers, s.Front, s.Memory, s.Abreast, s.Lock = true, true, Roaming, 64<<20, 40, sidecar.LockNone
	for len(s.Skew) < 2 {
		s.Skew = append(s.Skew, 0)
	}
	s.Parallel, s.Clients = []bool{true}, []int{1}
	s.step(r, 0, 0, Flag)
	cut := s.fault(r, Partition, time.Second)
	cut.Sidecar, cut.For = int(s.Steps[0].Chance%uint64(len(s.Skew))), duration(r, 1500*time.Millisecond, 4*time.Second) // it will be the owner
	slow := s.fault(r, SlowLink, cut.At)
	slow.Sidecar, slow.For, slow.Chance = cut.Sidecar, cut.For, uint64(duration(r, 0, 45*time.Millisecond))
	s.Faults = []Fault{cut, slow}
	for at := cut.At; at < cut.At+4*time.Second; at += duration(r, time.Millisecond, 30*time.Millisecond) {
		s.step(r, 0, at, pick(r, Read, Read, Flag, Flag, Merge, Register))
		last := &s.Steps[len(s.Steps)-1]
		last.App, last.Leaves = duration(r, 100*time.Microsecond, time.Millisecond), 0
	}
	s.visit(r, 0, cut.At+cut.For)
	s.number()
}

// warm: what was written while the node was away is on another one alone, and what the node brings back is old.
func (s *Scenario) warm(r *rand.Rand) {
	f := s.fault(r, WarmNode, time.Second)
	c := s.fault(r, FreezeNode, f.At+f.For+duration(r, -50*time.Millisecond, 2*time.Second))
	c.Node = (f.Node + 1 + r.IntN(s.Nodes-1)) % s.Nodes
	s.Faults = []Fault{f, c}
	s.drawSteps(r)
}

// wrongBy is more than the touch interval, the grace of a renewal, and what the calls between sidecars allow.
const wrongBy = 10 * time.Minute

// clocks: one sidecar's clock is wrong by ten minutes, and so are its stamps. A session's idle time is half an hour there: it is what may end early.
// Renewals and their grace are left out, which is wrong by as much, too.
func (s *Scenario) clocks(r *rand.Rand) {
	s.Far, s.Idle = -1, 30*time.Minute
	for len(s.Skew) < 2 {
		s.Skew = append(s.Skew, 0)
	}
	s.Skew[r.IntN(len(s.Skew))] = pick(r, -wrongBy, wrongBy)
	switch r.IntN(3) {
	case 0:
		s.emptied(r)
	case 1:
		s.warm(r)
	default:
		f := s.fault(r, Kind(r.IntN(drawn)), time.Second)
		s.Faults = []Fault{f}
		s.drawSteps(r)
	}
	for i := range s.Steps {
		if s.Steps[i].Action == Renew {
			s.Steps[i].Action = Flag
		}
	}
}

// forgotten: attributes are deleted, among them a heap, and a fault comes at once or more than a minute later, when some deletions are forgotten.
// Every node holds the session: a copy left where none shall be any more may bring an attribute back (docs/failure-modes.md).
func (s *Scenario) forgotten(r *rand.Rand) {
	const minute = 70 * time.Second
	s.Far, s.Lock, s.Nodes, s.Copies = -1, sidecar.LockNone, 2, 2
	s.Parallel, s.Clients = []bool{r.IntN(2) == 0}, []int{1}
	s.Faults = []Fault{
		s.fault(r, Kind(r.IntN(drawn)), duration(r, 500*time.Millisecond, 3*time.Second)),
		s.fault(r, Kind(r.IntN(drawn)), minute+duration(r, 0, 4*time.Second)),
	}
	for i, a := range []Action{Plant, Plant, Flag, Fill, Delete, Delete, Empty, Merge} {
		s.step(r, 0, time.Duration(i)*500*time.Millisecond+duration(r, 0, 100*time.Millisecond), a)
	}
	for at := 10 * time.Second; at < minute; at += 9 * time.Second {
		s.step(r, 0, at, Read)
	}
	for range 12 {
		s.step(r, 0, minute+duration(r, 0, 6*time.Second), pick(r, Read, Read, Flag, Merge, Plant, Delete))
	}
	for _, f := range s.Faults {
		s.visit(r, 0, f.At+f.For)
	}
	s.number()
}

// renewals: each client leaves about when its answer comes, so that it goes on with the old id.
func (s *Scenario) renewals(r *rand.Rand) {
	s.drawFaults(r)
	s.drawSteps(r)
	for i := range s.Steps {
		if step := &s.Steps[i]; step.Action != Read && r.IntN(4) == 0 {
			step.Action, step.Leaves = Renew, step.There+step.App+duration(r, time.Millisecond, 30*time.Millisecond)
		}
	}
}
