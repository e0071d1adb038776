package sidecar_test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A queue is no fault of the nodes. The commits of one session wait for each other longer than commit_timeout, and each is still
// written before it is answered: nothing is left to memory alone, where kill -9 would take it.
func TestBurstOfOneSession(t *testing.T) {
	const requests = 50
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.each(func(n *node) { n.slow(10 * time.Millisecond) })
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
		if took := time.Since(start); took < 2*p.setup.CommitTimeout {
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
