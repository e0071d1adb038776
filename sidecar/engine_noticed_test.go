package sidecar_test

import (
	"sync/atomic"
	"testing"
	"time"
)

// L5: a logout is answered when no sidecar shows the session for want of news. In shared mode one that has not noticed how a node paused asks that
// node alone.
func TestL5LogoutMeetsAPause(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		thief := f.sidecar("b2", p.alike).visitor().take(v.id())
		named, _ := f.holders(v.id())
		thief.must(`{"a":1}`)
		named.silence(true)
		over := make(chan *answer)
		go func() { over <- v.get(op("destroy")) }()
		wait(440 * time.Millisecond)
		named.silence(false)
		if a := <-over; a.StatusCode != 200 {
			t.Fatalf("logout: %d %s", a.StatusCode, a.token())
		}
		thief.must(`{}`)
	})
}

// A node that stays silent makes a logout wait as long as others take to notice, and the next ones not at all.
func TestL5LogoutWaitsUntilASilenceIsNoticed(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		other := f.sidecar("b2", p.alike)
		var visitors, thieves []*visitor
		for len(visitors) < 20 {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			visitors, thieves = append(visitors, v), append(thieves, other.visitor().take(v.id()))
		}
		f.nodes[0].silence(true)
		for i, v := range visitors {
			start := time.Now()
			if a := v.get(op("destroy")); a.StatusCode != 200 {
				t.Fatalf("logout: %d %s", a.StatusCode, a.token())
			}
			if took := time.Since(start); i == 0 && (took < 900*time.Millisecond || took > 1300*time.Millisecond) || i > 0 && took > 150*time.Millisecond {
				t.Errorf("logout %d took %v", i, took)
			}
		}
		f.nodes[0].silence(false)
		for _, thief := range thieves {
			thief.must(`{}`)
		}
		p.kill() // it owes the ends to the node, which the others doubt as long as there is a note
		for range 4 {
			wait(time.Minute)
			for _, thief := range thieves {
				thief.must(`{}`)
			}
		}
	})
}

// A sidecar that alone cannot reach a node tells the others by a note on the nodes that it reaches.
func TestL5LogoutLeavesANote(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		named, _ := f.holders(v.id())
		thief := p.visitor().take(v.id())
		var isCut atomic.Bool
		v.through(f.sidecar("b2", p.alike, func(s *setup) { s.ring.Dial = f.severable(named, &isCut) })).must(`{"a":1}`)
		isCut.Store(true)
		if a := v.get(op("destroy")); a.StatusCode != 200 {
			t.Fatalf("logout: %d %s", a.StatusCode, a.token())
		}
		for range 20 {
			thief.must(`{}`)
			wait(time.Second)
		}
	})
}
