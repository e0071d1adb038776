package sim

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// Options of a run.
type Options struct {
	Keep bool // keep the history, line by line
	// Mutate, when not nil, wraps the store of each sidecar: a test of the simulation breaks a rule there.
	Mutate func(Ring) sidecar.Store
	// Lifeless lets the canaries of nodes survive everything: no node has lives.
	Lifeless bool
}

// Ring is the store of a sidecar, and a way past it.
type Ring struct {
	sidecar.Store
	Forget func(key string) // deletes a key on every node
}

// Result is what came of a history.
type Result struct {
	Observations []*Observation
	Violations   []Violation
	History      []string
	Slowest      time.Duration // the longest request
	Own          map[string]int
}

// tooLong is more than any history takes.
const tooLong = 10 * time.Minute

// world is one history under way.
type world struct {
	scenario Scenario
	opts     Options
	began    time.Time
	nodes    []*node
	visitors []*visitor
	history  history

	operator   chan struct{}  // held while a node is taken out of the ring
	background sync.WaitGroup // requests nobody waits for, and processes that end

	mu           sync.Mutex
	incarnations uint64
	settings     []settings     // of each sidecar
	apart        map[string]int // "s1>s2": partitions in force between two sidecars
	fleet        []*process     // nil while a sidecar is down
	observations []*Observation
	leftover     int // sessions in memory at the very end
	hoarded      int // deletions that a stored session still remembers then, and need not
}

// Run lets a scenario happen. It must be called in a bubble of testing/synctest.
func Run(s Scenario, o Options) Result {
	w := &world{scenario: s, opts: o, began: time.Now(), apart: map[string]int{}, operator: make(chan struct{}, 1)}
	w.history = history{began: w.began, keep: o.Keep}
	for i := range s.Nodes {
		w.nodes = append(w.nodes, newNode(fmt.Sprintf("n%d", i+1), o.Lifeless))
	}
	if s.Plot != None {
		for _, n := range w.nodes {
			n.age(w.began.Add(-time.Hour))
		}
	}
	w.fleet = make([]*process, len(s.Skew))
	for range s.Skew {
		w.settings = append(w.settings, settings{absent: -1})
	}
	for i := range s.Skew {
		w.fleet[i] = w.start(i)
	}
	for i, parallel := range s.Parallel {
		v := &visitor{w: w, number: i, parallel: parallel, slots: make(chan struct{}, s.Abreast)}
		if !parallel {
			v.slots = make(chan struct{}, 1)
		}
		w.visitors = append(w.visitors, v)
	}
	stuck := time.AfterFunc(tooLong, func() { panic(fmt.Sprintf("sim: the history of seed %d does not end", s.Seed)) })
	defer stuck.Stop()
	<-time.After(settle)
	w.happen()
	w.review()
	w.end()
	r := Result{Observations: w.observations, History: w.history.sorted(), Own: map[string]int{}}
	for _, o := range r.Observations {
		r.Slowest = max(r.Slowest, o.End-o.Start-o.App)
		if o.token != "" {
			r.Own[o.token]++
		}
	}
	r.Violations = judge(w)
	return r
}

// happen lets steps and faults take place, each at its time.
func (w *world) happen() {
	var all sync.WaitGroup
	for _, f := range w.scenario.Faults {
		all.Go(func() {
			<-time.After(f.At)
			w.suffer(f)
		})
	}
	// Steps of one visitor that are due at once queue in the order of their numbers.
	for _, s := range w.scenario.Steps {
		all.Go(func() {
			<-time.After(s.At)
			w.visitors[s.Visitor].do(s)
		})
	}
	all.Wait()
}

// suffer makes a fault happen and end.
func (w *world) suffer(f Fault) {
	n := w.nodes[f.Node]
	w.trace("FAULT %s", f)
	switch f.Kind {
	case KillNode:
		n.kill()
		<-time.After(f.For)
		n.revive()
	case WarmNode:
		n.kill()
		<-time.After(f.For)
		n.resume()
	case FreezeNode:
		n.freeze()
		<-time.After(f.For)
		n.unfreeze()
	case FlushNode:
		n.flush()
	case EvictKey:
		w.trace("evicted %s", n.evict(f.Chance))
	case SlowLink, LoseReply:
		w.hamper(f)
	case KillSidecar, DrainSidecar:
		w.take(f)
	case Partition:
		w.part(f)
	case ChangeRing:
		w.without(f)
	case RotateKey:
		w.rotate(f)
	}
	w.trace("HEALED %s", f)
}

// hamper troubles the link between a sidecar and a node.
func (w *world) hamper(f Fault) {
	p := w.at(f.Sidecar)
	if p == nil {
		return
	}
	l := p.links[f.Node]
	l.set(func() {
		if f.Kind == SlowLink {
			l.slow = time.Duration(f.Chance % uint64(300*time.Millisecond))
		} else {
			l.lose, l.close = 1+int(f.Chance%3), f.Chance%2 == 0
		}
	})
	<-time.After(f.For)
	l.set(func() { l.slow, l.lose = 0, 0 })
}

// part cuts two sidecars off from each other.
func (w *world) part(f Fault) {
	n := len(w.fleet)
	if n < 2 {
		return
	}
	a, b := route(f.Sidecar), route((f.Sidecar+1+int(f.Chance%uint64(n-1)))%n)
	change := func(by int) {
		w.set(func() {
			w.apart[a+">"+b] += by
			w.apart[b+">"+a] += by
		})
	}
	change(+1)
	<-time.After(f.For)
	change(-1)
}

// take ends a sidecar, and starts another with its name.
func (w *world) take(f Fault) {
	p := w.at(f.Sidecar)
	if p == nil || p.draining {
		return
	}
	if f.Kind == KillSidecar {
		w.set(func() { w.fleet[f.Sidecar] = nil })
		p.kill()
	} else {
		p.drain()
		w.set(func() { w.fleet[f.Sidecar] = nil })
	}
	<-time.After(f.For)
	fresh := w.start(f.Sidecar)
	w.trace("%s is back", fresh.route)
	w.set(func() { w.fleet[f.Sidecar] = fresh })
}

// review reads each visitor's session once through every sidecar, and tries the ids that should be dead.
func (w *world) review() {
	<-time.After(renewGrace)
	for _, v := range w.visitors {
		for _, p := range w.fleet {
			v.at(p, Step{Visitor: v.number, Action: Read}, Last)
		}
	}
	for _, id := range w.ids() {
		for _, p := range w.fleet {
			late := &visitor{w: w, number: id.visitor, jars: [2]string{id.text}}
			late.at(p, Step{Visitor: id.visitor, Action: Read}, Ghost)
		}
	}
	if w.scenario.Seed%4 != 1 || w.scenario.Plot == Clocks {
		return // where the clocks are wrong by minutes, so is the idle time
	}
	<-time.After(idle + touchEvery + 2*time.Second) // and the clocks differ
	for _, v := range w.visitors {
		for _, p := range w.fleet {
			v.at(p, Step{Visitor: v.number, Action: Read}, Expired)
		}
	}
}

// end stops everything. What memory still holds then must go once it is idle.
func (w *world) end() {
	if w.scenario.Sticky && w.scenario.Seed%8 == 0 && w.scenario.Plot != Clocks {
		<-time.After(idle + touchEvery + 70*time.Second) // the sweep takes a minute
		for _, p := range w.fleet {
			w.leftover += p.handler.InMemory()
		}
	}
	w.weigh()
	for _, p := range w.fleet {
		close(p.dead)
		p.bury()
		for _, l := range p.links {
			l.sever()
		}
	}
	w.background.Wait()
	for _, n := range w.nodes {
		n.kill()
	}
}

// ghost is an id that some visitor once had.
type ghost struct {
	visitor int
	text    string
}

// ids lists the newest spelling of every id that was handed out.
func (w *world) ids() (out []ghost) {
	newest := map[string]ghost{}
	for _, o := range w.observations {
		if len(o.set) > 1 {
			newest[session(o.set)] = ghost{o.Visitor, o.set}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(newest)) {
		out = append(out, newest[key])
	}
	return out
}

func (w *world) at(sidecar int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fleet[sidecar]
}

// store is the ring as a sidecar sees it.
func (w *world) store(p *process) sidecar.Store {
	if w.opts.Mutate == nil {
		return p.store
	}
	return w.opts.Mutate(Ring{p.store, func(key string) {
		for _, n := range w.nodes {
			n.forget(key)
		}
	}})
}

func (w *world) now() time.Duration { return time.Since(w.began) }

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *world) observe(o *Observation) {
	w.trace("%s", o)
	w.set(func() { w.observations = append(w.observations, o) })
}

func (w *world) trace(format string, args ...any) { w.history.add(format, args...) }
