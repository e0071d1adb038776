package sidecar_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Asynchronous commits are written at once while few sessions change. When many do, what comes close together is one write, within a second.
func TestAsynchronousCommitsArePaced(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		visitors := make([]*visitor, 20)
		for i := range visitors {
			visitors[i] = p.visitor()
			visitors[i].get(patch(`{"a":1}`))
			wait(10 * time.Millisecond)
		}
		f.operations()
		for i, v := range visitors {
			v.get(patch(`{"n":0}`))
			wait(10 * time.Millisecond)
			if n := f.operations(); n != 4 || p.Owed() != 0 {
				t.Errorf("commit %d of a hundred in a second cost %d operations at once, %d are owed", i, n, p.Owed())
			}
		}
		const each = 5
		for i := range each { // at the same moment
			for _, v := range visitors {
				v.get(patch(fmt.Sprintf(`{"n":%d}`, i+1)))
			}
		}
		wait(time.Second)
		if n, most := f.operations(), 4*(len(visitors)+1); n > most || p.Owed() != 0 {
			t.Errorf("%d commits of %d sessions cost %d operations, %d are needed; %d are owed", each*len(visitors), len(visitors), n, most, p.Owed())
		}
		other := f.sidecar("b2", p.alike)
		for _, v := range visitors {
			v.get(nil)
			if n := f.operations(); n != 0 {
				t.Errorf("a read after them cost %d operations", n)
			}
			v.at = other
			if got, want := v.session(), fmt.Sprintf(`{"a":1,"n":%d}`, each); got != want {
				t.Errorf("the ring has %s, want %s", got, want)
			}
			f.operations()
		}
	}, func(s *setup) { s.Commit = sidecar.Async })
}

// However many sessions change, none waits longer than a second.
func TestPacedCommitsWaitASecondAtMost(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		for range 1500 {
			p.visitor().get(patch(`{"a":1}`))
		}
		if p.Owed() < 1000 {
			t.Errorf("%d are owed", p.Owed())
		}
		wait(time.Second + 50*time.Millisecond)
		if p.Owed() != 0 {
			t.Errorf("%d are owed after a second", p.Owed())
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
			for range 200 {
				p.visitor().get(patch(`{"a":1}`))
			}
			start := time.Now()
			end(t, p)
			if owed, took := p.Owed(), time.Since(start); name == "flushed" && owed != 0 || took > time.Second {
				t.Errorf("%s: %d are owed after %v", name, owed, took)
			}
			wait(250 * time.Millisecond)
			if owed := p.Owed(); owed != 0 {
				t.Errorf("%s: %d are owed", name, owed)
			}
		}, func(s *setup) { s.Commit = sidecar.Async })
	}
}
