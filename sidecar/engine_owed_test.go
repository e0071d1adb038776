package sidecar_test

import (
	"testing"
	"time"
)

// L5: a sidecar that owes a node the end of a session shows no copy of it, also when the nodes that had the end lost it; and it is no question
// whether the session lives.
func TestL5OwedEndIsKnown(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		thief := p.visitor().take(v.id())
		named, second := f.holders(v.id())
		named.silence(true)
		if a := v.get(op("destroy")); a.StatusCode != 200 {
			t.Fatalf("logout: %d %s", a.StatusCode, a.token())
		}
		second.restart()
		thief.must(`{}`)
		named.silence(false)
		thief.must(`{}`)
		wait(10 * time.Second)
		thief.through(f.sidecar("b2", p.alike)).must(`{}`)
	})
}

// A logout soon after a login ends what the old id shows, also where the grace is over by one clock and goes on by another.
func TestL5LogoutEndsTheOldIDByEveryClock(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		thief := p.visitor().take(v.id())
		v.get(renewal)
		wait(5 * time.Second)
		thief.must(`{"a":1}`)
		ahead := f.sidecar("b2", p.alike, func(s *setup) { s.RenewGrace = time.Second })
		v.through(ahead).get(op("destroy"))
		wait(2 * time.Second) // how long an absence is believed, or a presence
		thief.must(`{}`)
	})
}
