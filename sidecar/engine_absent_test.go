package sidecar_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// A dead id costs the ring one look a second, however often it comes.
func TestDeadIDsAreCheap(t *testing.T) {
	for name, end := range map[string]func(f *fleet, v *visitor){
		"destroyed": func(_ *fleet, v *visitor) { v.get(op("destroy")) },
		"expired":   func(_ *fleet, _ *visitor) { wait(2 * time.Hour) },
		"lost": func(f *fleet, v *visitor) {
			v.at.kill()
			f.each((*node).restart)
			wait(time.Second)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				id := v.id()
				end(f, v)
				other := f.sidecar("b2", p.alike) // knows nothing of it
				other.visitor().take(id).must(`{}`)
				f.operations()
				for range 50 {
					other.visitor().take(id).must(`{}`)
				}
				if n := f.operations(); n != 0 {
					t.Errorf("50 requests with a dead id cost %d operations", n)
				}
				wait(time.Second)
				other.visitor().take(id).must(`{}`)
				if f.operations() == 0 {
					t.Error("the ring was not asked any more")
				}
			}, func(s *setup) { s.Lock = sidecar.LockAll })
		})
	}
}

// A silence is no absence: the session is there as soon as its node is.
func TestSilenceIsNotRemembered(t *testing.T) {
	inMode(t, false, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.each(func(n *node) { n.silence(true) })
		if a := v.get(nil); a.StatusCode != 503 {
			t.Fatalf("%d while no node answers", a.StatusCode)
		}
		f.each(func(n *node) { n.silence(false) })
		v.must(`{"a":1}`)
	})
}

// More requests than the nodes may be asked at once: the sidecar says so, and does not blame the ring.
func TestOverloadIsNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		p := f.sidecar("a1")
		var ids []string
		for range 3000 { // two nodes, each asked 64 things at once and with hundreds of reads that wait to be asked together
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			ids = append(ids, v.id())
		}
		f.each(func(n *node) { n.slow(90 * time.Millisecond) })
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				if a := p.visitor().take(id).get(nil); a.StatusCode != 200 && a.token() != "overload" {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
			})
		}
		all.Wait()
		if n := p.counted("own_answers_total", "overload"); n == 0 {
			t.Error("nobody was refused: the burst was too small for this test")
		}
	})
}

// Nothing is acknowledged from memory while a node answers, be it too slowly for a write: kill -9 would take it. Memory holds what no node
// can be asked to hold.
func TestSlowIsNotIsolated(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.each(func(n *node) { n.slow(300 * time.Millisecond) }) // canaries are answered at once
		if a := v.get(patch(`{"a":2}`)); a.StatusCode != 503 || a.token() != "commit_failed" {
			t.Errorf("slow: %d %s, want 503 commit_failed", a.StatusCode, a.token())
		}
		f.each(func(n *node) { n.slow(0) })
		wait(5 * time.Second)
		v.must(`{"a":1}`)

		f.each(func(n *node) { n.silence(true) })
		if a := v.get(patch(`{"a":3}`)); a.StatusCode != 200 {
			t.Errorf("isolated: %d %s", a.StatusCode, a.token())
		}
		f.each(func(n *node) { n.silence(false) })
		wait(5 * time.Second)
		f.sidecar("b2", p.alike).visitor().take(v.id()).must(`{"a":3}`)
	})
}

// A node that pauses for a moment gets the change when it goes on: within commit_timeout it is offered again.
func TestPauseIsWaitedFor(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		a := v.get(func(w http.ResponseWriter, r *http.Request) {
			f.each(func(n *node) { n.silence(true) })
			time.AfterFunc(120*time.Millisecond, func() { f.each(func(n *node) { n.silence(false) }) })
			patch(`{"a":2}`)(w, r)
		})
		if a.StatusCode != 200 {
			t.Errorf("%d %s", a.StatusCode, a.token())
		}
		if n := p.counted("commits_total", "isolated"); n != 0 {
			t.Errorf("%v commits were answered from memory alone", n)
		}
	})
}
