package sidecar_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// Who takes a session over uses it: if that were not written, the session would end early where its new home dies before the next touch.
func TestTakeoverIsAnAccess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2", "a3")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		for i, route := range []string{"a1", "a2"} {
			wait(20 * time.Minute)
			l.set(func() { l.dead[route] = true })
			p[i].kill()
			v.through(p[i+1]).must(`{"a":1}`)
		}
	})
}

// A session that is found nowhere may have ended at its last owner, and the nodes have lost its tombstone one after the other. What an earlier
// owner still remembers of it is no proof that it lives, neither to that one nor to who asks it.
func TestEndedSessionIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2", "a3")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		ids := []string{v.id()}
		l.set(func() { l.deaf = true })
		v.through(p[1]).must(`{"a":1}`) // a1 has released it
		l.set(func() { l.deaf = false })
		ids = append(ids, v.id())
		v.get(op("destroy"))
		for _, n := range f.nodes {
			wait(10 * time.Second)
			n.restart()
		}
		wait(10 * time.Second)
		for _, id := range ids {
			for _, q := range p {
				q.visitor().take(id).must(`{}`)
				wait(2 * time.Second) // that it is absent is believed for a second
			}
		}
	})
}

// A home that is fenced answers when both copies have the change: nobody waits for what it has under way, and whoever takes over may reach
// the second node alone.
func TestFencedHomeWaitsForBothCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		l.set(func() { l.cut["a2>a1"], l.cut["a1>a2"] = true, true })
		w := p[1].visitor().take(v.id())
		w.get(patch(`{"b":2}`)) // a2 fences a1
		v.take(w.id()).get(patch(`{"c":3}`))
		named, second := f.holders(v.id())
		second.slow(10 * time.Millisecond)
		v.get(patch(`{"d":4}`))
		if named.copyOf(v.id()) != second.copyOf(v.id()) {
			t.Error("one node alone has what was acknowledged")
		}
		second.slow(0)
	})
}

// Memory alone acknowledges nothing while this home is fenced: who took over, or will, does not ask it.
func TestFencedHomeIsNoIsolatedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		l.set(func() { l.cut["a2>a1"], l.cut["a1>a2"] = true, true })
		w := p[1].visitor().take(v.id())
		w.get(patch(`{"b":2}`)) // a2 fences a1
		v.take(w.id()).get(patch(`{"c":3}`))
		for range 3 {
			do := func(rw http.ResponseWriter, r *http.Request) {
				f.each(func(n *node) { n.silence(true) })
				patch(`{"d":4}`)(rw, r)
			}
			if a := v.get(do); a.StatusCode != 503 {
				t.Errorf("%d: memory alone has what a fenced home acknowledged", a.StatusCode)
			}
			wait(time.Second) // no node has answered since
		}
	})
}

// With one copy, what lies on another node than the named one knows of no use since it was written. That it looks expired is no reason to end the
// session when the named node has lost it, and its owner, which has it in memory, is silent.
func TestExpiredCopyOfAnEarlierOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := familyLike(f, func(s *setup) { s.Copies, s.ring.Copies = 1, 1 }, "a1", "a2", "a3")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		l.set(func() { l.dead["a1"] = true })
		p[0].kill()
		v.through(p[1]).must(`{"a":1}`) // the claim goes to every node
		for range 4 {
			wait(9 * time.Minute)
			v.get(patch(`{"a":2}`))
		}
		wait(time.Second) // the touch has ended
		named, _ := f.holders(v.id())
		named.evict(t, v.id())
		l.set(func() { l.cut["a3>a2"] = true })
		if a := v.through(p[2]).get(nil); a.StatusCode != 503 || a.token() != "ring_unknown" {
			t.Errorf("%d %s while nobody who has the session can be asked", a.StatusCode, a.token())
		}
		l.set(func() { l.cut["a3>a2"] = false })
		v.must(`{"a":2}`)
	})
}

func keyOf(text string) string {
	id, err := ring.ParseID(text)
	if err != nil {
		panic(err)
	}
	return ring.StorageKey(space, id.Random)
}

// copyOf is what the node holds of a session.
func (n *node) copyOf(id string) string {
	blob, _ := n.server.Peek(keyOf(id))
	return string(blob)
}

// evict lets the node forget a session.
func (n *node) evict(t *testing.T, id string) {
	conn, err := n.server.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("delete " + keyOf(id) + "\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
}
