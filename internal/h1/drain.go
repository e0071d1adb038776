package h1

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// settleTick is how often a shutdown looks who is still owed an answer.
const settleTick = 2 * time.Millisecond

// Exchanges is how many requests are under way, tunnels included.
func (e *Engine) Exchanges() (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		switch c.step.phase() {
		case handling, asking, taking, giving, tunnel:
			n++
		}
	}
	return n
}

// Shutdown serves what has already arrived, the kernel's accept queue included, and closes everything: the listeners, then connections
// as they become idle, at last the tunnels. When ctx ends first, what is left is cut off and its error returned.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.Drain()
	e.stopAccepting()
	err := e.settle(ctx) // among the new ones may be some that speak HTTP/2, and are handed over
	var other error
	var companion sync.WaitGroup
	if e.options.HTTP2 != nil {
		companion.Go(func() {
			_ = e.handover.Close()
			other = e.options.HTTP2.Shutdown(ctx)
		})
	}
	if err == nil {
		e.endTunnels()
		err = e.awaitEnd(ctx, head.LastCalls)
	}
	if e.cutOff() > 0 && err == nil {
		err = context.DeadlineExceeded
	}
	_ = e.awaitEnd(context.Background(), head.LastCalls)
	companion.Wait()
	e.stop()
	return errors.Join(err, other)
}

// stop ends what goes on beside the connections.
func (e *Engine) stop() {
	e.mu.Lock()
	first := e.closing && !e.ended
	e.ended = true
	e.mu.Unlock()
	if first {
		close(e.stopped)
	}
	e.beside.Wait()
	e.pool.close()
}

// stopAccepting empties and closes every listener.
func (e *Engine) stopAccepting() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return
	}
	e.closing = true
	for l := range e.listeners {
		l.close()
	}
	e.freed.Broadcast()
}

// settle returns when every connection has got its answers, or ctx ends. Idle ones are closed, and after a while new ones that stay silent.
func (e *Engine) settle(ctx context.Context) error {
	tick := time.NewTicker(settleTick)
	defer tick.Stop()
	silent := time.Now().Add(head.FirstRequest)
	for {
		if e.ask(time.Now().After(silent)) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// ask ends the connections that wait for a request, and tells how many others there are but tunnels.
func (e *Engine) ask(newToo bool) (left int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for l := range e.listeners {
		if !l.ended.Load() {
			left++ // its queue may hold more
		}
	}
	for _, c := range e.conns {
		word := c.step.word.Load()
		switch phaseOf(word) {
		case tunnel, closing:
			continue
		case idle, parked:
			c.interfere(word, ending)
		case fresh:
			if newToo {
				c.interfere(word, ending)
			}
		}
		left++
	}
	return left
}

// endTunnels tells those who speak through us that it is over.
func (e *Engine) endTunnels() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		if t := c.tunnel.Load(); t != nil {
			t.goAway()
		}
	}
}

// awaitEnd returns when all connections are closed, or patience or ctx ends.
func (e *Engine) awaitEnd(ctx context.Context, patience time.Duration) error {
	ended := make(chan struct{})
	go func() {
		e.running.Wait()
		close(ended)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// cutOff ends what is left and tells how much that was.
func (e *Engine) cutOff() (left int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		if c.step.phase() == closing {
			continue // it has its answer
		}
		left++
		c.cutOff()
	}
	return left
}

// cutOff ends an exchange, which finds the mark when it moves on, or the connection outside of one.
func (c *conn) cutOff() {
	c.engine.sweeper.Lock()
	defer c.engine.sweeper.Unlock()
	for {
		word := c.step.word.Load()
		switch phaseOf(word) {
		case handling, asking, taking, giving:
			if !c.step.mark(word, ending) && phase(word)&ending == 0 {
				continue // it has just moved on
			}
			c.x.abort(errShutdown)
		default:
			_ = c.nc.SetDeadline(pastDeadline)
		}
		return
	}
}
