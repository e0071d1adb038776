package sidecar_test

import (
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// A change that only one node took, and a next request that gets no answer from just that node: the other node's copy lacks the change,
// and whoever trusted it would overwrite what was acknowledged.
func TestSharedChangeOnOneNode(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		other := f.sidecar("b2", p.alike)
		v.through(other).must(`{"n":1}`)
		named, second := f.holders(v.id())

		named.silence(true)
		if a := v.through(p).get(patch(`{"n":2}`)); a.StatusCode != 200 || v.parsed().Node != second.name || v.parsed().Epoch == 0 {
			t.Fatalf("%d, id %+v, want one that names %s and the change", a.StatusCode, v.parsed(), second.name)
		}
		p.kill() // before it could repair the other copy
		named.silence(false)
		second.silence(true)
		if a := v.through(other).get(patch(`{"n":2.5}`)); a.StatusCode != 503 || a.token() != "ring_unknown" || a.app != nil {
			t.Fatalf("%d %s while the only node with the change is silent", a.StatusCode, a.token())
		}
		second.silence(false)
		v.must(`{"n":2}`)
		if v.get(patch(`{"n":3}`)); v.parsed().Epoch != 0 {
			t.Error("both nodes took the last change, and the id still doubts it")
		}
	})
}

// The repair ends the doubt: the copy that was behind holds the change by now, so it may stand alone.
func TestSharedChangeRepaired(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		other := f.sidecar("b2", p.alike)
		named, second := f.holders(v.id())
		named.silence(true)
		v.get(patch(`{"n":2}`))
		named.silence(false)
		wait(time.Minute + time.Second) // a touch is due
		v.get(nil)
		wait(time.Second)
		second.silence(true)
		v.through(other).must(`{"n":2}`)
	})
}

// A node that stays silent is not waited for longer than ring.unknown_for: then the older copy is the best there is.
func TestSharedChangeGivenUp(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		other := f.sidecar("b2", p.alike)
		named, second := f.holders(v.id())
		named.silence(true)
		v.get(patch(`{"n":2}`))
		p.kill()
		named.silence(false)
		second.silence(true)
		if a := v.through(other).get(nil); a.StatusCode != 503 {
			t.Errorf("%d at once", a.StatusCode)
		}
		wait(other.setup.UnknownFor + 10*time.Second)
		v.must(`{"n":1}`)
		if n := other.counted("session_events_total", "stale"); n == 0 {
			t.Error("nobody counted it")
		}
	})
}

// A node comes into the ring again, at one sidecar before another. What that one writes to the node that it knows, no id marks, for its ring has no
// other. The copy on the new node may lack that when the first one pauses.
func TestSharedNodeThatIsNewToTheRing(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		other := f.sidecar("b2", p.alike)
		named, second := f.holders(v.id())
		at := func(n *node) ring.Node { return ring.Node{Name: n.name, Address: n.name + ".test:11211"} }
		set := func(q *process, nodes ...ring.Node) {
			if err := q.store.SetNodes(nodes); err != nil {
				t.Fatal(err)
			}
		}
		set(p, at(named))
		set(other, at(named))
		second.restart()
		set(other, at(named), at(second))
		v.through(other).get(patch(`{"n":2}`))
		v.through(p).get(patch(`{"n":3}`)) // to the one node that p knows
		set(p, at(named), at(second))
		named.silence(true)
		for _, q := range []*process{p, other} {
			if a := v.through(q).get(patch(`{"n":2.5}`)); a.StatusCode != 503 || a.token() != "ring_unknown" || a.app != nil {
				t.Errorf("%d %s while the only node with the change is silent", a.StatusCode, a.token())
			}
		}
		named.silence(false)
		v.must(`{"n":3}`)
	})
}

// holders are the node that an id names and the other one, of a ring of two.
func (f *fleet) holders(text string) (named, second *node) {
	f.t.Helper()
	id, err := ring.ParseID(text)
	if err != nil {
		f.t.Fatal(err)
	}
	named, second = f.nodes[0], f.nodes[1]
	if named.name != id.Node {
		named, second = second, named
	}
	return named, second
}

// With one copy, what lies on another node than the named one was left there before: it is not taken over while that node is silent.
func TestOnlyCopyIsWhereTheIDSays(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		other := f.sidecar("b2", p.alike)
		named, second := f.holders(v.id())
		named.silence(true)
		if v.get(patch(`{"n":2}`)); v.parsed().Node != second.name {
			t.Fatalf("the id names %s", v.parsed().Node)
		}
		p.kill()
		named.silence(false)
		second.silence(true)
		if a := v.through(other).get(patch(`{"n":1.5}`)); a.StatusCode != 503 || a.token() != "ring_unknown" || a.app != nil {
			t.Errorf("%d %s while the only node with the change is silent", a.StatusCode, a.token())
		}
		second.silence(false)
		wait(2 * time.Second) // it may count as down, and is probed again first
		v.must(`{"n":2}`)
	}, func(s *setup) { s.Copies, s.ring.Copies = 1, 1 })
}
