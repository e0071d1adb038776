package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// trial is one row in one mode while it runs, and then its result. The first error of a fault driver sticks: what a row does after it
// counts for nothing.
type trial struct {
	*fleet
	ctx     context.Context
	rand    *rand.Rand // of the row's own goroutine
	short   bool
	overlap bool // visitors send requests of one session in parallel: values come in any order

	mu sync.Mutex
	result
	err error
}

// result is what the table shows.
type result struct {
	requests, failed, unavailable, lost, wentBack, resurrected, changed, renamed int

	took     []time.Duration
	tokens   map[string]int // Pillion's own answers, by their error
	problems []string       // what should never be, in words
	notes    []string       // figures of this row alone
}

// maxProblems bounds how many problems are told of one trial.
const maxProblems = 10

func (t *trial) note(a answer, err error, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	t.took = append(t.took, took)
	switch {
	case err == nil && a.status == 200:
	case err == nil && a.status == 503:
		t.unavailable++
		t.tokens[errorOf(a)]++
	default:
		t.failed++
	}
}

func (t *trial) goneBack() { t.mu.Lock(); t.wentBack++; t.mu.Unlock() }
func (t *trial) rise()     { t.mu.Lock(); t.resurrected++; t.mu.Unlock() }

func (t *trial) problem(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.problems) < maxProblems {
		t.problems = append(t.problems, fmt.Sprintf(format, args...))
	}
}

func (t *trial) say(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// try keeps the first error.
func (t *trial) try(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

// wait lets the load run for d, or for a fifth of it in short form.
func (t *trial) wait(d time.Duration) {
	if t.short {
		d /= 5
	}
	t.pause(d)
}

func (t *trial) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		t.try(t.ctx.Err())
	}
}

// count is n, or fewer in short form.
func (t *trial) count(n, short int) int {
	if t.short {
		return short
	}
	return n
}

// visitors come for the first time, one after the other: each has a session then.
func (t *trial) visitors(n int) (all []*visitor) {
	for range n {
		v := newVisitor(t)
		v.increment("count", "")
		if v.cookie == "" {
			t.try(errors.New("a new visitor got no session"))
		}
		all = append(all, v)
	}
	return all
}

// load lets every visitor act again and again, one request at a time, until stop.
func (t *trial) load(visitors []*visitor, think time.Duration, act func(*visitor)) (stop func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	var all sync.WaitGroup
	for _, v := range visitors {
		pace := rand.New(rand.NewPCG(t.rand.Uint64(), 0))
		all.Go(func() {
			for ctx.Err() == nil {
				act(v)
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(pace.Int64N(int64(2 * think)))):
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// counting is the usual visitor.
func counting(v *visitor) { v.increment("count", "") }

// audit reads every session back through every sidecar, one request at a time, and fills in what was lost.
func (t *trial) audit(visitors []*visitor) {
	for _, v := range visitors {
		lost := 0
		for _, s := range t.sidecars {
			lost = max(lost, v.settle(s.address))
		}
		if lost > 0 {
			t.say("%d lost of %s", lost, v.ref())
		}
		t.mu.Lock()
		t.lost += lost
		t.changed += v.changed
		t.renamed += v.renamed
		t.mu.Unlock()
	}
}

// restart starts a dead process again at its address.
func (t *trial) restart(p *process) { t.try(p.start()) }

// run makes one trial on a fleet of its own.
func (r row) run(ctx context.Context, programs *programs, v variant, seed uint64, short bool) (result, error) {
	dir := filepath.Join(programs.dir, r.name+"-"+v.mode)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return result{}, err
	}
	p := r.plan
	if short { // for machines that have no time: the table's form keeps the defaults
		p.flags = append(p.flags[:len(p.flags):len(p.flags)], "--ring-op-timeout=300ms", "--commit-timeout=1s")
	}
	p.shared, p.flags = strings.HasPrefix(v.mode, "shared"), append(p.flags[:len(p.flags):len(p.flags)], v.flags...)
	f, err := startFleet(programs, dir, p)
	if err != nil {
		return result{}, err
	}
	defer f.stop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	t := &trial{fleet: f, ctx: ctx, rand: rand.New(rand.NewPCG(seed, seed)), short: short, result: result{tokens: map[string]int{}}}
	r.do(t)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.result, t.err
}
