package sim

import (
	"context"
	"time"
)

// visitor is a browser with its cookie jar.
type visitor struct {
	w        *world
	number   int
	parallel bool
	slots    chan struct{} // one token for each request under way

	// guarded by world.mu
	jars [2]string // of its clients; the second begins with a copy of the first one's cookie
	pin  *process  // where the front sends it, in sticky mode
	open int       // requests at pin
}

// answer is what came of one request.
type answer struct {
	status   int
	token    string // of Pillion's own answers
	set      string // the id handed out, "-" for none any more
	reached  bool   // the app was asked
	seen     view
	seenAt   time.Duration
	deed     deed
	panicked string
}

// Observation is one request as its visitor knows it, and what the app saw and did.
type Observation struct {
	Step
	answer
	Start, End time.Duration
	Shown      string
	Route      string
	Cut        bool // no answer came: the sidecar died or the client left
	Kind       Reading
}

// Reading says what a request is for.
type Reading uint8

// The readings.
const (
	Usual   Reading = iota
	Last            // at the very end, when everything is healed: the visitor must see all that it was promised
	Ghost           // after that, with any id that was ever handed out
	Expired         // when nobody used the session for its idle time
)

// acted tells whether the app asked for a change; acked, whether the visitor was told that it is kept.
func (o *Observation) acted() bool { return o.reached && o.deed.any }
func (o *Observation) acked() bool { return o.acted() && !o.Cut && o.status == 200 }

// do makes one request through the front.
func (v *visitor) do(step Step) {
	v.slots <- struct{}{}
	defer func() { <-v.slots }()
	<-time.After(step.There)
	for range 3 {
		p := v.w.pick(v, step.Client, step.Chance)
		if p == nil {
			break
		}
		served := v.at(p, step, Usual)
		v.w.leave(v, p)
		if served {
			return
		}
	}
	v.w.trace("v%d #%d %s: no sidecar", v.number+1, step.N, step.Action)
}

// at makes one request at p, and tells whether p was there to take it.
func (v *visitor) at(p *process, step Step, kind Reading) bool {
	o := &Observation{Step: step, Start: v.w.now(), Route: p.route, Kind: kind}
	v.w.set(func() {
		if v.jars[1] == "" && step.Client == 1 {
			v.jars[1] = v.jars[0]
		}
		o.Shown = v.jars[step.Client]
	})
	v.w.trace("v%d #%d %s at %s, showing %s", v.number+1, step.N, step.Action, p.route, brief(o.Shown))
	if !p.alive() {
		return false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	answered := make(chan answer, 1)
	go func() { answered <- p.serve(ctx, step, o.Shown) }()
	var gone <-chan time.Time
	if step.Leaves > 0 {
		gone = time.After(step.Leaves)
	}
	select {
	case o.answer = <-answered:
		select {
		case <-time.After(step.Back):
		case <-p.dead:
			// The answer is on its way already.
		}
	case <-gone:
		o.Cut = true
		cancel()
	case <-p.dead:
		o.Cut = true
	}
	if o.Cut {
		v.w.background.Go(func() { v.w.late(o, <-answered) })
		return true
	}
	o.End = v.w.now()
	v.w.set(func() {
		if o.set == "-" {
			v.jars[step.Client] = ""
		} else if o.set != "" {
			v.jars[step.Client] = o.set
		}
	})
	v.w.observe(o)
	return true
}

// late takes what became of a request whose visitor does not hear of it: the app may have acted.
func (w *world) late(o *Observation, a answer) {
	o.answer = a
	o.End = w.now()
	w.observe(o)
}
