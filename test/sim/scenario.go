package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Scenario is all that happens in one history, drawn from its seed before it starts. What is left open is how the code answers.
type Scenario struct {
	Seed     uint64
	Promised bool // the faults are within the promise: every invariant must hold, not only the weak ones

	Sticky   bool
	Peers    bool // sidecars ask each other
	Front    Front
	Nodes    int
	Skew     []time.Duration // of each sidecar's clock
	Far      int             // the sidecar whose stamps are far ahead, -1: none
	Parallel []bool          // for each visitor: its requests overlap
	Clients  []int           // for each visitor: how many browsers share its cookie
	Commit   sidecar.Commit
	Copies   int
	Lock     sidecar.LockMode
	Memory   int64 // bytes of the memory table
	Abreast  int   // how many requests of a visitor with parallel ones are under way at most
	Plot     Plot
	Idle     time.Duration // after which a session ends

	Steps  []Step
	Faults []Fault
}

// Front says how the front chooses a sidecar.
type Front uint8

// The fronts.
const (
	Roaming Front = iota // any living one
	ByRoute              // the one in the cookie while it lives, else any
	Pinned               // one for each visitor, another only when that is gone and what it was doing has ended
)

// Action is what the app does in one request.
type Action uint8

// The actions. Each change carries the number of its step, so that one can be told from another in what a later request sees.
const (
	Read     Action = iota
	Flag            // add an attribute that no other step touches
	Merge           // add a member to the one object that all steps share
	Register        // overwrite the one attribute that all steps overwrite
	Plant           // add an attribute that a later step may delete
	Delete          // delete a planted attribute
	Replace         // hand back the whole session with one attribute more and a planted one less
	Count           // add one to the counter; only where the lock covers it
	Renew           // new id, with a patch in the same answer
	Destroy         // logout
	Login           // bind the session to the visitor's subject, with a patch in the same answer
	Revoke          // an operator ends all of the visitor's bound sessions
	Fill            // add a heap of attributes
	Empty           // delete them
)

var actionNames = [...]string{"read", "flag", "merge", "register", "plant", "delete", "replace", "count", "renew", "destroy", "login", "revoke", "fill", "empty"}

func (a Action) String() string { return actionNames[a] }

// Step is one request of one visitor.
type Step struct {
	N           int // unique in the scenario
	Visitor     int
	Client      int           // of the visitor's browsers
	At          time.Duration // since the fleet settled
	Action      Action
	There, Back time.Duration // between visitor and sidecar
	App         time.Duration // how long the app works
	Leaves      time.Duration // the client closes its connection so long after sending; 0: it stays
	Chance      uint64        // decides where the front has a choice
}

// Kind of a fault.
type Kind uint8

// The faults.
const (
	KillNode Kind = iota
	FreezeNode
	FlushNode
	EvictKey
	SlowLink
	LoseReply
	KillSidecar
	DrainSidecar
	Partition
	ChangeRing // a node leaves the ring and comes in again, at one sidecar after the other
	RotateKey  // a new key opens, and later seals, at one sidecar after the other
	WarmNode   // killed, and back with its memory: memcached -e; only in plots
)

var kindNames = [...]string{"kill node", "freeze node", "flush node", "evict a key of node", "slow link to node", "lose replies of node", "kill sidecar", "drain sidecar", "partition around sidecar",
	"take from the ring node", "rotate a key", "restart warm node"}

// drawn is how many of the faults are drawn one by one.
const drawn = int(RotateKey) + 1

// Fault is one thing that goes wrong, and how long.
type Fault struct {
	Kind    Kind
	At, For time.Duration
	Node    int
	Sidecar int
	Chance  uint64
}

// forgets tells whether a node loses what it holds.
func (f Fault) forgets() bool {
	return f.Kind == KillNode || f.Kind == FlushNode || f.Kind == EvictKey || f.Kind == ChangeRing
}

// silences tells whether a node does not answer somebody.
func (f Fault) silences() bool { return f.Kind == FreezeNode || f.Kind == SlowLink }

func (f Fault) String() string {
	switch f.Kind {
	case KillSidecar, DrainSidecar, Partition:
		return fmt.Sprintf("%s s%d for %v", kindNames[f.Kind], f.Sidecar+1, f.For)
	case SlowLink, LoseReply:
		return fmt.Sprintf("%s n%d from s%d for %v", kindNames[f.Kind], f.Node+1, f.Sidecar+1, f.For)
	}
	return fmt.Sprintf("%s n%d for %v", kindNames[f.Kind], f.Node+1, f.For)
}

// The times of a history.
const (
	idle       = 20 * time.Second
	touchEvery = idle / 10
	renewGrace = 1500 * time.Millisecond
	revocation = 2 * time.Second
	settle     = 3 * time.Second // before the first step: nodes shall be older than sessions
	// heal is what the fleet needs after a fault to have every session on two nodes again, given that each is visited (see Draw): a
	// node that was down is seen up after 3 s, and a touch follows a visit that comes a touch interval after the last one.
	heal = 9 * time.Second
)

// Draw makes the scenario of a seed. Seeds above Plots follow a plot; those below stay what they were before there were any.
func Draw(seed uint64) Scenario {
	r := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	s := Scenario{
		Seed: seed, Promised: r.IntN(4) != 0, Sticky: r.IntN(2) == 0, Nodes: 2 + r.IntN(2), Memory: 64 << 20, Copies: 2, Far: -1, Abreast: 3, Idle: idle,
		Commit: pick(r, sidecar.BeforeReply, sidecar.BeforeReply, sidecar.BeforeReply, sidecar.BeforeReply, sidecar.BeforeReply, sidecar.BeforeReply,
			sidecar.BeforeReply, sidecar.All, sidecar.All, sidecar.Async),
		Lock: pick(r, sidecar.LockNone, sidecar.LockNone, sidecar.LockAll, sidecar.LockAuto),
	}
	fewest := 1
	if s.Sticky {
		s.Peers, s.Front = r.IntN(5) != 0, pick(r, Roaming, ByRoute, Pinned)
		switch {
		case s.Peers:
			fewest = 2
		case s.Promised:
			s.Front = Pinned // sidecars that do not ask each other need it
		}
		if r.IntN(4) == 0 {
			s.Copies = 1
		}
		if r.IntN(4) == 0 {
			s.Memory = 1600 // room for two or three sessions
		}
	}
	for range fewest + r.IntN(4-fewest) {
		s.Skew = append(s.Skew, pick(r, 0, -400*time.Millisecond, 300*time.Millisecond))
	}
	for range 1 + r.IntN(3) {
		s.Clients = append(s.Clients, pick(r, 1, 1, 1, 2))
		s.Parallel = append(s.Parallel, r.IntN(2) == 0 || s.Clients[len(s.Clients)-1] > 1)
	}
	if r.IntN(4) == 0 {
		s.Far = r.IntN(len(s.Skew))
	}
	if s.Copies == 1 && (s.Promised || seed > Plots) {
		s.Memory = 64 << 20 // what memory has no room for is on one node alone, and goes with that
	}
	if seed > Plots {
		s.plot(r)
		return s
	}
	s.drawFaults(r)
	s.drawSteps(r)
	return s
}

// pick draws one of several; one that is named twice comes twice as often.
func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// drawFaults draws, within the promise, up to three faults, each healed before the next, some with a companion that may go with them;
// or up to six that overlap as they like.
func (s *Scenario) drawFaults(r *rand.Rand) {
	count := r.IntN(4)
	if !s.Promised {
		count = 1 + r.IntN(6)
	}
	at := time.Second
	for range count {
		f := s.fault(r, Kind(r.IntN(drawn)), at+duration(r, 0, time.Second))
		s.Faults = append(s.Faults, f)
		if !s.Promised {
			continue
		}
		end := f.At + f.For
		c, ok := s.pause(r, f)
		if !ok {
			c, ok = s.companion(r, f)
		}
		if ok {
			s.Faults = append(s.Faults, c)
			end = max(end, c.At+c.For)
		}
		at = end + heal
	}
}

func (s *Scenario) fault(r *rand.Rand, kind Kind, at time.Duration) Fault {
	if kind == KillSidecar && s.Commit == sidecar.Async && s.Promised {
		kind = DrainSidecar // an asynchronous commit does not outlive its sidecar, and does not promise to
	}
	longest := 1500 * time.Millisecond
	if kind == Partition {
		longest = 4 * time.Second // long enough for a fence
	}
	return Fault{
		Kind: kind, At: at, For: duration(r, time.Millisecond, longest),
		Node: r.IntN(s.Nodes), Sidecar: r.IntN(len(s.Skew)), Chance: r.Uint64(),
	}
}

// companion draws what may happen beside a fault: sidecars that cannot reach each other, and one that leaves. A home may also be killed,
// unless a node loses what it holds at that moment: the last acknowledged write may lie on that one only.
func (s *Scenario) companion(r *rand.Rand, beside Fault) (Fault, bool) {
	kinds := []Kind{Partition, DrainSidecar}
	if !beside.forgets() || !s.Sticky {
		kinds = append(kinds, KillSidecar)
	}
	c := s.fault(r, pick(r, kinds...), max(0, beside.At+duration(r, -500*time.Millisecond, 500*time.Millisecond)))
	return c, r.IntN(2) == 0
}

// pause draws what else may happen beside a silence that loses nothing: another node misses some operations at about the same time. So a
// change may lie on one node alone that the next request does not reach.
func (s *Scenario) pause(r *rand.Rand, beside Fault) (Fault, bool) {
	if beside.Kind != FreezeNode && beside.Kind != SlowLink && beside.Kind != LoseReply {
		return Fault{}, false
	}
	c := s.fault(r, FreezeNode, beside.At+duration(r, 0, beside.For+100*time.Millisecond))
	c.Node = (beside.Node + 1 + r.IntN(s.Nodes-1)) % s.Nodes
	c.For = duration(r, 50*time.Millisecond, 600*time.Millisecond)
	return c, r.IntN(3) == 0
}

// drawSteps draws each visitor's requests, most of them near a fault. Within the promise each visitor also comes by twice after each
// fault, which is what repairs the copies of its session before the next one.
func (s *Scenario) drawSteps(r *rand.Rand) {
	end := 4 * time.Second
	for _, f := range s.Faults {
		end = max(end, f.At+f.For+time.Second)
	}
	for v := range s.Parallel {
		s.step(r, v, duration(r, 0, 500*time.Millisecond), Flag)
		for range 7 + r.IntN(7) {
			at := duration(r, 500*time.Millisecond, end)
			if len(s.Faults) > 0 && r.IntN(4) > 0 {
				f := s.Faults[r.IntN(len(s.Faults))]
				at = max(0, f.At-200*time.Millisecond+duration(r, 0, f.For+700*time.Millisecond))
			}
			s.step(r, v, at, s.action(r))
		}
		for i, f := range s.Faults {
			if s.Promised || i == len(s.Faults)-1 {
				s.visit(r, v, f.At+f.For)
			}
		}
	}
	s.number()
}

// number puts the steps in their order.
func (s *Scenario) number() {
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return int(a.At - b.At) })
	for i := range s.Steps {
		s.Steps[i].N = i + 1
	}
}

// visit reads twice after a fault, late enough and far enough apart to be followed by a touch.
func (s *Scenario) visit(r *rand.Rand, visitor int, healing time.Duration) {
	after := []time.Duration{4 * time.Second, 7 * time.Second}
	if s.Idle > idle {
		after = []time.Duration{65 * time.Second, 130 * time.Second} // there is a touch at most each minute
	}
	for _, after := range after {
		for client := range s.Clients[visitor] {
			s.step(r, visitor, healing+after+duration(r, 0, 100*time.Millisecond), Read)
			last := &s.Steps[len(s.Steps)-1]
			last.Client, last.Leaves = client, 0
		}
	}
}

func (s *Scenario) step(r *rand.Rand, visitor int, at time.Duration, a Action) {
	step := Step{
		Visitor: visitor, At: at, Action: a, Chance: r.Uint64(), Client: r.IntN(s.Clients[visitor]),
		There: duration(r, 50*time.Microsecond, 3*time.Millisecond), Back: duration(r, 50*time.Microsecond, 3*time.Millisecond),
		App: duration(r, 100*time.Microsecond, 5*time.Millisecond),
	}
	if r.IntN(5) == 0 {
		step.App = duration(r, 0, 300*time.Millisecond)
	}
	if r.IntN(20) == 0 {
		step.Leaves = duration(r, time.Millisecond, 50*time.Millisecond)
	}
	s.Steps = append(s.Steps, step)
}

func (s *Scenario) action(r *rand.Rand) Action {
	switch n := r.IntN(30); {
	case n == 0:
		return Destroy
	case n <= 2:
		return Renew
	case n == 11 || n == 12:
		return Login
	case n == 13:
		return Revoke
	case n <= 10 && s.Lock != sidecar.LockNone:
		return Count
	}
	return pick(r, Read, Read, Flag, Flag, Merge, Register, Register, Plant, Delete, Replace)
}

// duration draws from [low, high), to the nanosecond: that two things happen at one instant is left to chance, as it is in the world.
func duration(r *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(r.Int64N(int64(high-low)))
}
