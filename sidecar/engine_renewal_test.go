package sidecar_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

var renewal = says("Pillion-Patch", `{"user":"ada"}`, "Pillion-Op", "renew")

// L3: a node that was silent at a renewal serves the old id as if it were live, until it gets the mark. What is written there meets the mark on the
// other node, and must not pass for a request from before the renewal. (A sticky sidecar asks every node.)
func TestL3OldIDAtANodeThatMissedTheRenewal(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		other := f.sidecar("b2", p.alike)
		thief := other.visitor().take(v.id())
		before, arrived, goOn := held(patch(`{"before":1}`))
		early := make(chan *answer)
		go func() { early <- other.visitor().take(v.id()).get(before) }()
		<-arrived

		named, _ := f.holders(v.id())
		named.silence(true)
		if a := v.get(renewal); a.StatusCode != 200 || a.setCookie() == "" {
			t.Fatalf("the renewal: %d %s", a.StatusCode, a.token())
		}
		p.kill() // before it brought the mark there
		named.silence(false)
		if a := thief.get(patch(`{"user":"eve"}`)); a.StatusCode != 503 || a.token() != "commit_failed" || a.app.session() != `{"a":1}` {
			t.Errorf("a change with the old id: reads %s, gets %d %s", a.app.session(), a.StatusCode, a.token())
		}
		close(goOn)
		if a := <-early; a.StatusCode != 503 || a.token() != "commit_failed" {
			t.Errorf("one that began before cannot be told from that: %d %s", a.StatusCode, a.token())
		}
		v.through(other).must(`{"a":1,"user":"ada"}`)
	})
}

// Of two renewals at once one is first; the session that the other one made ends without its neighbours, also where a node did not hear of that end.
func TestRenewalThatLostEndsAlone(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		other := f.sidecar("b2", p.alike)
		loses, arrived, goOn := held(renewal)
		lost := make(chan *answer)
		go func() { lost <- other.visitor().take(v.id()).get(loses) }()
		<-arrived
		v.get(renewal)

		second := f.nodes[1]
		second.server.Fault(func(c memcachedtest.Command) memcachedtest.Action {
			if c.Name == "add" && strings.HasPrefix(c.Key, "p1:"+space) {
				second.silence(true) // it has the new session, and nothing that follows
			}
			return memcachedtest.Action{}
		})
		close(goOn)
		if a := <-lost; a.StatusCode != 503 || a.token() != "commit_failed" {
			t.Fatalf("the second renewal: %d %s", a.StatusCode, a.token())
		}
		second.server.Fault(nil)
		second.silence(false)
		wait(10 * time.Second)
		v.must(`{"a":1,"user":"ada"}`)
	})
}

// L5: a logout with an id from several renewals ago, all of them in grace, ends what came of it.
func TestL5LogoutEndsAWholeChain(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		old := p.visitor().take(v.id())
		for range 8 {
			v.get(renewal)
		}
		v.must(`{"a":1,"user":"ada"}`)
		old.get(op("destroy"))
		v.must(`{}`)
	}, func(s *setup) { s.RenewGrace = time.Minute })
}
