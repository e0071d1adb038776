package sidecar_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// A home that drains is sent no request, whose connection it might just be closing: it hands the session over, with all that it has.
func TestPeersLeaveADrainingHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		v.through(p[1]).must(`{"n":1}`)
		forwarded := p[1].counted("session_events_total", "forwarded")
		if forwarded == 0 || v.parsed().Route != "a1" {
			t.Fatal("the request did not go to its home")
		}
		p[1].SetLeaving(map[string]bool{"a1": true})
		v.through(p[1]).must(`{"n":1}`)
		if p[1].counted("session_events_total", "forwarded") != forwarded || p[0].counted("session_events_total", "released") != 1 {
			t.Error("the draining home kept the session")
		}
		if v.parsed().Route != "a2" {
			t.Errorf("the session lives at %s", v.parsed().Route)
		}
	})
}

// Without a control plane a home says itself that it leaves (DESIGN 8), and that it stays after all. A peer that did not hear it learns it when
// it asks next.
func TestPeersHearThatAHomeLeaves(t *testing.T) {
	for _, heard := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			f := newFleet(t, 2)
			l, p := family(f, "a1", "a2")
			forwarded := func() float64 { return p[1].counted("session_events_total", "forwarded") }
			v := p[0].visitor()
			v.get(patch(`{"n":1}`))
			v.through(p[1]).must(`{"n":1}`)
			before := forwarded()
			l.set(func() { l.cut["a1>a2"] = !heard })
			p[0].Leave(t.Context())
			if !heard {
				wait(time.Second) // what a2 knows of a1 is too old then
			}
			v.must(`{"n":1}`)
			if forwarded() != before || v.parsed().Route != "a2" {
				t.Errorf("heard %t: a request was forwarded to a sidecar that leaves; the session lives at %s", heard, v.parsed().Route)
			}

			l.set(func() { l.cut["a1>a2"] = false })
			p[0].Rejoin(t.Context())
			w := p[0].visitor()
			w.get(patch(`{"m":1}`))
			w.through(p[1]).must(`{"m":1}`)
			if forwarded() == before {
				t.Errorf("heard %t: nothing is forwarded to a sidecar that stays after all", heard)
			}
		})
	}
}

// A sidecar that leaves owes the ring nothing: what memory had alone is written at once, and commits wait for the ring (async does not).
func TestLeavingWritesBack(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		for _, n := range f.nodes {
			n.kill()
		}
		v := p.visitor()
		v.get(patch(`{"n":1}`))
		if p.Owed() == 0 {
			t.Error("nothing is owed while no node answers")
		}
		for _, n := range f.nodes {
			n.revive()
		}
		p.Leave(t.Context())
		wait(3 * time.Second)
		if owed := p.Owed(); owed != 0 {
			t.Errorf("%d are owed", owed)
		}
		v.get(patch(`{"n":2}`))
		wait(10 * time.Millisecond) // the second copy
		if owed := p.Owed(); owed != 0 {
			t.Errorf("after a commit %d are owed", owed)
		}
	}, func(s *setup) { s.Commit = sidecar.Async })
}

// While its app accepts no connection a sidecar sends requests on to another one, with sessions and without, forwarded ones too.
func TestDetourAroundAnApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2", "a3")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		l.set(func() { l.down["a1"] = true })
		wait(2 * time.Second) // connections to the app that idle end
		for i := range 6 {    // at the home; of them a1 sends each to one of the others, which takes the session over
			a := v.through(p[0]).ask("POST", "/", patch(fmt.Sprintf(`{"n":%d}`, i)))
			if a.StatusCode != 200 || a.app.session() == "{}" {
				t.Fatalf("%d %s, the app was given %q", a.StatusCode, a.token(), a.app.session())
			}
		}
		l.mu.Lock()
		refused := len(l.refused)
		l.mu.Unlock()
		if refused == 0 || p[0].counted("session_events_total", "detour") == 0 {
			t.Error("no detour was made")
		}
		w := p[0].visitor()
		if a := w.get(patch(`{"m":1}`)); a.StatusCode != 200 || w.parsed().Route == "a1" {
			t.Errorf("a new visitor: %d, at %s", a.StatusCode, w.id())
		}
		w.must(`{"m":1}`)

		// Nobody is left: the front is told that nothing was executed.
		l.set(func() { l.down["a2"], l.down["a3"] = true, true })
		wait(2 * time.Second)
		if a := w.get(nil); a.StatusCode != 503 || a.token() != "app_unreachable" || a.Header.Get("Pillion-Not-Executed") != "1" {
			t.Errorf("without any app: %d %s", a.StatusCode, a.token())
		}
	})
}

// A home that is asked first and whose app is down declines; the asker serves the request then.
func TestForwardedRequestMeetsNoApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		v.through(p[1]).must(`{"n":1}`)
		l.set(func() { l.down["a1"] = true })
		wait(2 * time.Second) // connections to the app that idle end
		v.must(`{"n":1}`)
		for i := range 3 {
			if a := v.ask("POST", "/", patch(fmt.Sprintf(`{"n":%d}`, i))); a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.token())
			}
		}
		if v.parsed().Route != "a2" {
			t.Errorf("the session lives at %s", v.parsed().Route)
		}
	})
}

// K13: a home that leaves leaves each session on two nodes, also where one copy is enough while it runs.
func TestLeavingWithOneCopy(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		wait(time.Second)
		holding := func() (n int) {
			for _, node := range f.nodes {
				if len(node.server.Keys()) > 1 { // the canary is the other one
					n++
				}
			}
			return n
		}
		if n := holding(); n != 1 {
			t.Fatalf("%d nodes hold it at first", n)
		}
		p.Flush(t.Context())
		if n := holding(); n != 2 {
			t.Errorf("%d nodes hold it after the home has left", n)
		}
	}, func(s *setup) { s.Copies, s.ring.Copies = 1, 1 })
}
