package sidecar_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// What docs/failure-modes.md says of a home that dies while each of its session's two nodes pauses in turn: the copy that is left may lack the last
// change. It is served, for otherwise a silent node would cost its sessions a 503 whenever their home is gone; the change comes back with its node.
func TestHomeKilledWhileItsNodesPauseInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		named, second := f.holders(v.id())
		named.silence(true)
		if a := v.get(patch(`{"b":2}`)); a.StatusCode != 200 || v.parsed().Node != second.name {
			t.Fatalf("%d, the id names %s", a.StatusCode, v.parsed().Node)
		}
		l.set(func() { l.dead["a1"] = true })
		p[0].kill() // before it could repair the other copy
		named.silence(false)
		second.silence(true)
		v.through(p[1]).must(`{"a":1}`)
		v.get(patch(`{"c":3}`))
		second.silence(false)
		wait(3 * time.Minute)
		v.get(nil)
		wait(time.Second)
		v.must(`{"a":1,"b":2,"c":3}`)
	})
}

// A home that releases a session brings what its memory alone has into the ring as well: the answer to who asked for it may not arrive.
func TestReleasedSessionIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := familyLike(f, func(s *setup) { s.Commit = sidecar.Async }, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"a":1}`))
		v.get(patch(`{"b":2}`))
		v.get(patch(`{"c":3}`)) // acknowledged by memory, and written within a second
		l.set(func() { l.deaf = true })
		v.through(p[1]).must(`{"a":1,"b":2,"c":3}`)
	})
}
