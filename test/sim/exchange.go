package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sidecar"
)

// serve takes one request of a visitor through the sidecar, as an HTTP engine would.
func (p *process) serve(ctx context.Context, step Step, shown string) (a answer) {
	p.open.Add(1)
	defer p.open.Add(-1)
	defer func() {
		if r := recover(); r != nil {
			a.panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
	}()
	if step.Action == Revoke {
		a.status, a.deed = 200, deed{revoke: true}
		if _, err := p.handler.DestroySubject(ctx, subject(step.Visitor)); err != nil {
			a.status = 503
		}
		return a
	}
	sticky := p.w.scenario.Sticky
	shown = p.wrong.mark(shown, -p.wrong.stamps, sticky)
	response := p.exchange(&head.Exchange{Context: ctx, Request: step.request(shown), Lose: waitOn}, step, &a)
	a.status, a.set, a.token = response.Status, p.wrong.mark(setCookie(&response), p.wrong.stamps, sticky), token(&response)
	return a
}

// waitOn is the Lose of an engine that gives no answer up: a forward waits until its partition heals, so that every observation is complete.
func waitOn() {}

// exchange brings a request to the app, or to the sidecar that the engine names.
func (p *process) exchange(x *head.Exchange, step Step, a *answer) head.Head {
	defer p.handler.End(x, nil)
	to, reply := p.handler.Request(x)
	for reply == nil {
		var response head.Head
		var err error
		if to == app {
			response = p.w.ask(x, step, a)
		} else if response, err = p.forward(x, to.Address, step, a); errors.Is(err, sidecar.ErrRefused) {
			to, reply = p.handler.Unreached(x)
			continue
		}
		if err != nil {
			reply = head.Fail(502, head.AppUnreachable, err.Error())
			break
		}
		if err := p.handler.Response(x, &response); err != nil {
			errors.As(err, &reply)
			break
		}
		return response
	}
	return head.Head{Status: reply.Status, Fields: reply.Fields}
}

// ask is the app.
func (w *world) ask(x *head.Exchange, step Step, a *answer) head.Head {
	a.reached = true
	a.seen = see(&x.Request)
	a.seenAt = w.now()
	fields, deed := act(step, a.seen)
	a.deed = deed
	<-time.After(step.App)
	return head.Head{Status: 200, Fields: fields}
}

var errDied = errors.New("sim: the sidecar that a request was forwarded to died")

// forward brings a request to another sidecar. A partition holds it up; the death of that sidecar ends it.
func (p *process) forward(x *head.Exchange, to string, step Step, a *answer) (head.Head, error) {
	p.w.trace("%s forwards #%d to %s", p.route, step.N, to)
	p.w.pass(p.route, to, "forward")
	for p.w.cut(p.route, to) {
		<-time.After(time.Millisecond)
	}
	q := p.w.named(to)
	if q == nil {
		return head.Head{}, sidecar.ErrRefused
	}
	done := make(chan head.Head, 1)
	q.open.Add(1)
	theirs := &head.Exchange{Context: x.Context, Request: x.Request, Lose: waitOn}
	theirs.Request.Fields = append(head.Fields(nil), x.Request.Fields...)
	go func() {
		defer q.open.Add(-1)
		if !p.wrong.wild(q.wrong) {
			q.handler.Vouched(theirs)
		}
		done <- q.exchange(theirs, step, a)
	}()
	select {
	case response := <-done:
		p.w.pass(to, p.route, "forwarded")
		return response, nil
	case <-q.dead:
		<-done // nobody hears it: but the observation is complete
		return head.Head{}, errDied
	}
}

// call is what one sidecar asks another. What a partition holds up is heard late, or never.
func (p *process) call(ctx context.Context, address, target, proof string, body []byte) ([]byte, error) {
	p.w.trace("%s calls %s%s", p.route, address, target[len(sidecar.PeerPath)-1:])
	p.w.pass(p.route, address, target)
	if p.w.cut(p.route, address) {
		late := p.w.travel(p.route+address+"late")%2 == 0
		if late {
			p.w.background.Go(func() {
				for p.w.cut(p.route, address) {
					<-time.After(time.Millisecond)
				}
				if q := p.w.named(address); q != nil && !p.wrong.wild(q.wrong) {
					q.hear(context.Background(), target, proof, body)
				}
			})
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	q := p.w.named(address)
	if q == nil || !p.alive() {
		return nil, sidecar.ErrRefused
	}
	type heard struct {
		answer []byte
		ok     bool
	}
	done := make(chan heard, 1)
	go func() {
		if p.wrong.wild(q.wrong) {
			done <- heard{}
			return
		}
		answer, ok := q.hear(ctx, target, proof, body)
		done <- heard{answer, ok}
	}()
	select {
	case h := <-done:
		p.w.pass(address, p.route, target)
		if !h.ok {
			return nil, errors.New("sim: 404")
		}
		p.w.trace("%s answers %c", address, h.answer[32])
		return h.answer, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-q.dead:
		return nil, errDied
	}
}

func (p *process) hear(ctx context.Context, target, proof string, body []byte) ([]byte, bool) {
	p.open.Add(1)
	defer p.open.Add(-1)
	return p.handler.Peer(ctx, target, proof, body)
}

// pass lets the time go by that a message between two sidecars takes.
func (w *world) pass(from, to, what string) { <-time.After(w.travel(from + ">" + to + " " + what)) }

// cut tells whether two sidecars are apart now.
func (w *world) cut(from, to string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.apart[from+">"+to] > 0
}

// named is the living sidecar with that route.
func (w *world) named(route string) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.fleet {
		if p != nil && p.route == route && p.alive() {
			return p
		}
	}
	return nil
}
