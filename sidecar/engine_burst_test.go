package sidecar_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// A queue is no fault of the nodes. What waits for a commit of its session and is then written takes longer than commit_timeout, and is
// still written before it is answered: nothing is left to memory alone, where kill -9 would take it.
func TestBurstOfOneSession(t *testing.T) {
	const requests = 50
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.each(func(n *node) { n.slow(80 * time.Millisecond) })
		start := time.Now()
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() {
				if a := p.visitor().take(v.id()).get(patch(fmt.Sprintf(`{"k%d":1}`, i))); a.StatusCode != 200 {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took < p.setup.CommitTimeout {
			t.Fatalf("took only %v: the queue was too short for this test", took)
		}
		if n := p.counted("commits_total", "isolated"); n != 0 {
			t.Errorf("%v commits were answered from memory alone", n)
		}
	})
}

// A burst of sessions waits for free slots of the nodes longer than op_timeout, and none is told that the nodes do not answer.
func TestBurstOfManySessions(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		var ids []string
		for range 200 {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			ids = append(ids, v.id())
		}
		reader := f.sidecar("b2", p.alike) // has none of them in memory
		f.each(func(n *node) { n.slow(50 * time.Millisecond) })
		var all sync.WaitGroup
		for _, id := range ids {
			all.Go(func() {
				v := reader.visitor().take(id)
				if a := v.get(nil); a.StatusCode != 200 || v.session() != `{"a":1}` {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
			})
		}
		all.Wait()
	})
}

// What waits for a commit is committed together with what else waits: a burst costs a few writes. Each change counts, also those that merge
// into one attribute, and one that fails by itself leaves the others alone.
func TestBurstIsOneCommit(t *testing.T) {
	const requests = 60
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"o":{"first":1}}`))
		ready, arrived := make(chan struct{}), make(chan struct{}, requests)
		together := func(s script) script {
			return func(w http.ResponseWriter, r *http.Request) {
				arrived <- struct{}{}
				<-ready
				s(w, r)
			}
		}
		var all sync.WaitGroup
		ask := func(s script, status int) {
			all.Go(func() {
				if a := p.visitor().take(v.id()).get(together(s)); a.StatusCode != status {
					t.Errorf("%d %s, want %d", a.StatusCode, a.token(), status)
				}
			})
		}
		big := strings.Repeat("x", 12<<10)
		for i := range requests - 6 {
			ask(patch(fmt.Sprintf(`{"k%d":1,"o":{"m%d":1}}`, i, i)), 200)
		}
		for i := range 6 { // of 12 KiB each, in a session that may have 64 KiB
			all.Go(func() {
				a := p.visitor().take(v.id()).get(together(patch(fmt.Sprintf(`{"big%d":%q}`, i, big))))
				if a.StatusCode != 200 && a.token() != "session_too_large" {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
			})
		}
		for range requests {
			<-arrived
		}
		f.each(func(n *node) { n.slow(10 * time.Millisecond) })
		f.operations()
		close(ready)
		all.Wait()
		f.each(func(n *node) { n.slow(0) })
		if n := f.operations(); n > 24 {
			t.Errorf("%d operations for %d parallel changes", n, requests)
		}
		got := v.get(nil).app
		if n := strings.Count(got.session(), `"k`); n != requests-6 {
			t.Errorf("%d attributes of %d", n, requests-6)
		}
		if n := strings.Count(got.session(), `"m`); n != requests-6 {
			t.Errorf("%d members of %d", n, requests-6)
		}
		if n := strings.Count(got.session(), `"big`); n != 5 {
			t.Errorf("%d of the large attributes are there, want the 5 that fit", n)
		}
	}, func(s *setup) { s.InlineMax = 80 << 10 })
}

// A burst that a lock makes wait takes longer than lock_wait and is served all the same, for the queue moves; across sidecars too.
func TestLockedBurstIsServed(t *testing.T) {
	const requests, think = 100, 30 * time.Millisecond
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":0}`))
		at := []*process{p}
		if !p.setup.Sticky {
			at = append(at, f.sidecar("b2", p.alike))
		}
		f.each(func(n *node) { n.slow(time.Millisecond) })
		start := time.Now()
		var all sync.WaitGroup
		for i := range requests {
			all.Go(func() {
				if a := at[i%len(at)].visitor().take(v.id()).get(increment("n", think)); a.StatusCode != 200 {
					t.Errorf("%d %s after %v", a.StatusCode, a.token(), time.Since(start))
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took < 2*p.setup.LockWait {
			t.Fatalf("took only %v: the queue was too short for this test", took)
		}
		v.must(fmt.Sprintf(`{"n":%d}`, requests))
	}, func(s *setup) { s.Lock = sidecar.LockAll })
}
