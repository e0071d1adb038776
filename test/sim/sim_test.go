package sim_test

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/test/sim"
)

var (
	seed  = flag.Uint64("sim.seed", 0, "run this seed alone")
	seeds = flag.Uint64("sim.seeds", 200, "how many seeds to run")
	first = flag.Uint64("sim.first", 1, "the first of them")
	show  = flag.Bool("sim.log", false, "print the history of -sim.seed")
	small = flag.Bool("sim.shrink", false, "leave out of -sim.seed what it fails without")
)

// run lets a scenario happen in a bubble of its own. Goroutines that stay behind are a failure, too: their bubble would never end.
func run(t *testing.T, s sim.Scenario, o sim.Options) (r sim.Result) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d: %v", s.Seed, p)
		}
	}()
	synctest.Test(t, func(*testing.T) { r = sim.Run(s, o) })
	return r
}

func TestSimulation(t *testing.T) {
	if *seed != 0 {
		one(t, sim.Draw(*seed))
		return
	}
	var within, outside tally
	several(t, "seeds", *first, *seeds, &within, &outside)
	if *first <= sim.Plots {
		several(t, "plots", sim.Plots+*first, (*seeds+3)/4, &within, &outside)
	}
	t.Logf("within the promise %s; outside %s", &within, &outside)
}

// several runs many seeds at once.
func several(t *testing.T, name string, first, count uint64, within, outside *tally) {
	t.Run(name, func(t *testing.T) {
		workers := uint64(runtime.GOMAXPROCS(0))
		for w := range workers {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				for n := first + w; n < first+count; n += workers {
					s := sim.Draw(n)
					r := run(t, s, sim.Options{})
					if len(r.Violations) > 0 {
						t.Errorf("seed %d: %s", n, r.Violations[0])
					}
					if s.Promised {
						within.add(r)
					} else {
						outside.add(r)
					}
				}
			})
		}
	})
}

// one runs one seed for whoever looks into it.
func one(t *testing.T, s sim.Scenario) {
	r := run(t, s, sim.Options{Keep: *show})
	if *small && len(r.Violations) > 0 {
		s = shrink(t, s, r.Violations[0].Invariant)
		r = run(t, s, sim.Options{Keep: *show})
	}
	if *show {
		fmt.Printf("%+v\n", s)
		for _, line := range r.History {
			fmt.Println(line)
		}
	}
	for _, v := range r.Violations {
		t.Error(v)
	}
}

// shrink leaves out steps and faults as long as the invariant still breaks.
func shrink(t *testing.T, s sim.Scenario, broken sim.Invariant) sim.Scenario {
	fails := func(smaller sim.Scenario) bool {
		return slices.ContainsFunc(run(t, smaller, sim.Options{}).Violations, func(v sim.Violation) bool { return v.Invariant == broken })
	}
	for i := len(s.Faults) - 1; i >= 0; i-- {
		smaller := s
		if smaller.Faults = slices.Delete(slices.Clone(s.Faults), i, i+1); fails(smaller) {
			s = smaller
		}
	}
	for i := len(s.Steps) - 1; i >= 0; i-- {
		smaller := s
		if smaller.Steps = slices.Delete(slices.Clone(s.Steps), i, i+1); fails(smaller) {
			s = smaller
		}
	}
	return s
}

// tally counts what several histories came to.
type tally struct {
	mu                  sync.Mutex
	histories, requests int
	slowest             time.Duration
	own                 map[string]int
}

func (c *tally) add(r sim.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.histories++
	c.requests += len(r.Observations)
	c.slowest = max(c.slowest, r.Slowest)
	if c.own == nil {
		c.own = map[string]int{}
	}
	for token, n := range r.Own {
		c.own[token] += n
	}
}

func (c *tally) String() string {
	return fmt.Sprintf("%d histories, %d requests, the slowest %v, Pillion's own answers %v", c.histories, c.requests, c.slowest, c.own)
}
