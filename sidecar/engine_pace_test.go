package sidecar_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Asynchronous commits that come close together are one write, a second after the last one at most; one that stands alone is written at once.
func TestAsynchronousCommitsArePaced(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		wait(2 * time.Second)
		f.operations()
		v.get(patch(`{"n":0}`))
		wait(10 * time.Millisecond)
		if n := f.operations(); n != 4 || p.Owed() != 0 {
			t.Errorf("a commit that stands alone cost %d operations at once, %d are owed", n, p.Owed())
		}
		for i := range 90 {
			v.get(patch(fmt.Sprintf(`{"n":%d}`, i+1)))
			wait(10 * time.Millisecond)
		}
		if n := f.operations(); n != 0 {
			t.Errorf("within a second of that, 90 commits cost %d operations", n)
		}
		wait(time.Second)
		if n := f.operations(); n != 4 || p.Owed() != 0 {
			t.Errorf("they cost %d operations, %d are owed", n, p.Owed())
		}
		v.get(nil)
		if n := f.operations(); n != 0 {
			t.Errorf("a read after them cost %d operations", n)
		}
		v.at = f.sidecar("b2", p.alike)
		if got := v.session(); got != `{"a":1,"n":90}` {
			t.Errorf("the ring has %s", got)
		}
	}, func(s *setup) { s.Commit = sidecar.Async })
}

// A sidecar that leaves, and one that ends, writes at once what would have waited.
func TestPacedCommitsAreFlushed(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *process){
		"left":    func(t *testing.T, p *process) { p.Leave(t.Context()) },
		"flushed": func(t *testing.T, p *process) { p.Flush(t.Context()) },
	} {
		inMode(t, true, func(t *testing.T, f *fleet, p *process) {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			wait(10 * time.Millisecond)
			v.get(patch(`{"a":2}`))
			f.operations()
			end(t, p)
			wait(10 * time.Millisecond)
			if n := f.operations(); n < 4 {
				t.Errorf("%s: %d operations", name, n)
			}
		}, func(s *setup) { s.Commit = sidecar.Async })
	}
}
