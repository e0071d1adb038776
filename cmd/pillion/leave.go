package main

import (
	"context"
	"fmt"
	"time"
)

// settle makes the sidecar leave or rejoin, as the operator and the state of the app have it. Leaving, it serves as before; fronts and peers
// send visitors elsewhere.
func (p *process) settle() {
	p.settling.Lock()
	defer p.settling.Unlock()
	leave := p.departure.leaving.Load() || p.app.away()
	if p.gone.Swap(leave) == leave {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if leave {
		reason := "the app does not take requests"
		if p.departure.leaving.Load() {
			reason = "asked to"
		}
		p.log.Info("draining", "reason", reason)
		p.engine.Drain()
		p.fleet.setDraining(true)
		p.handler.Leave(ctx)
		return
	}
	p.log.Info("serving again")
	p.handler.Rejoin(ctx)
	p.fleet.setDraining(false)
	p.engine.Undrain()
}

// waits is what an end would cut short now.
func (p *process) waits() (all []string) {
	for target, fronts := range p.fleet.waits() {
		all = append(all, fmt.Sprintf("control plane %s: %s", target, fronts))
	}
	if n := p.handler.Owed(); n > 0 {
		all = append(all, fmt.Sprintf("%d sessions to write to the ring", n))
	}
	if n := p.engine.Exchanges(); n > 0 {
		all = append(all, fmt.Sprintf("%d requests under way", n))
	}
	return all
}

// drain leaves for good: fronts get the time to see that the health path says no, then no connection is accepted and what is under way is
// finished.
func (p *process) drain(linger time.Duration) {
	p.departure.end()
	p.fleet.leave()
	time.Sleep(linger)
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := p.engine.Shutdown(ctx); err != nil {
		p.log.Warn("requests were cut off", "error", err)
	}
	p.handler.Flush(ctx)
	if n := p.handler.Owed(); n > 0 {
		p.log.Error("stopped with writes that the ring has not taken", "writes", n)
		return
	}
	p.log.Info("stopped")
}
