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
	None    Plot = iota
	Emptied      // a node comes back empty, and another one pauses before everything is on two nodes again
	Contest      // a sidecar is cut off from the others while visitors write through all of them without pause
)

// plot draws the faults and steps of a plot.
func (s *Scenario) plot(r *rand.Rand) {
	s.Promised, s.Commit, s.Plot = true, sidecar.BeforeReply, pick(r, Emptied, Contest)
	if s.Sticky && !s.Peers {
		s.Front = Pinned // sidecars that do not ask each other need it
	}
	switch s.Plot {
	case Emptied:
		s.emptied(r)
	case Contest:
		s.contest(r)
	}
}

// emptied: the pause begins when the node has lost its memory, or later; what the visitors wrote until then the other node has.
func (s *Scenario) emptied(r *rand.Rand) {
	f := s.fault(r, pick(r, KillNode, FlushNode, ChangeRing), time.Second)
	f.For = duration(r, time.Millisecond, 800*time.Millisecond)
	c := s.fault(r, FreezeNode, f.At+duration(r, 50*time.Millisecond, f.For+time.Second))
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
