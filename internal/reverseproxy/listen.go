package reverseproxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

const (
	// quiet is how long no connection may have arrived before the accept queue counts as empty, and quietAtMost how long a
	// drain waits for such a moment.
	quiet       = 2 * time.Millisecond
	quietAtMost = time.Second
	// lastCalls is how long Shutdown waits for exchanges whose connections it has closed.
	lastCalls = 2 * time.Second
)

// Serve accepts connections on l until Shutdown and returns nil then. It may be called for several listeners.
func (e *Engine) Serve(l net.Listener) error {
	own := &listener{Listener: l, clients: &e.clients}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	e.listeners[own] = struct{}{}
	e.accepting.Add(1)
	e.mu.Unlock()
	defer e.accepting.Done()

	serve := e.server.Serve
	if e.TLS != nil {
		serve = func(l net.Listener) error { return e.server.ServeTLS(l, "", "") }
	}
	err := serve(own)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil
	}
	delete(e.listeners, own)
	return err
}

// Drain asks clients to go elsewhere, and still serves everyone: the health path answers 503 and each response closes its
// connection. Nothing that is under way is disturbed.
func (e *Engine) Drain() { e.draining.Store(true) }

// Undrain takes Drain back.
func (e *Engine) Undrain() { e.draining.Store(false) }

// Shutdown serves what has already arrived, the kernel's accept queue included, and closes everything: the listeners, then
// connections as they become idle, at last the tunnels. When ctx ends first, what is left is cut off and its error returned.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.Drain()
	e.stopAccepting()
	err := e.server.Shutdown(ctx)
	e.cancel() // tunnels have no end of their own
	if err != nil {
		err = errors.Join(err, e.server.Close())
	}
	for deadline := time.Now().Add(lastCalls); e.exchanges.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(quiet)
	}
	e.transport.CloseIdleConnections()
	return err
}

// stopAccepting empties and closes every listener.
func (e *Engine) stopAccepting() {
	e.mu.Lock()
	first := !e.closing
	e.closing = true
	for l := range e.listeners {
		if first {
			l.close()
		}
	}
	e.mu.Unlock()
	e.clients.setLimit(0)
	e.accepting.Wait()
}

// listener accepts as long as the gate lets clients in. On close it first accepts what the kernel has already accepted: those
// clients have sent their request and would get a reset.
type listener struct {
	net.Listener
	clients *gate
	arrived bool // since the last deadline; used by Accept alone

	mu      sync.Mutex
	closing time.Time // zero while serving
}

type deadliner interface{ SetDeadline(time.Time) error }

// close makes Accept empty the queue, close the listener and fail.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = time.Now()
	if d, ok := l.Listener.(deadliner); !ok || d.SetDeadline(time.Now().Add(quiet)) != nil {
		_ = l.Listener.Close() // a listener without deadlines cannot be asked whether its queue is empty
	}
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		l.clients.wait()
		c, err := l.Listener.Accept()
		if err == nil {
			l.arrived = true
			return c, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || !l.again() {
			return nil, err
		}
	}
}

// again tells whether to look into the queue once more after a deadline.
func (l *listener) again() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.arrived && time.Since(l.closing) < quietAtMost {
		l.arrived = false
		return l.Listener.(deadliner).SetDeadline(time.Now().Add(quiet)) == nil
	}
	_ = l.Listener.Close()
	return false
}

// gate counts the connections of clients and makes listeners wait while there are too many.
type gate struct {
	mu    sync.Mutex
	freed sync.Cond
	open  int
	limit int // 0 is none
}

func (g *gate) init() { g.freed.L = &g.mu }

func (g *gate) setLimit(limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = limit
	g.freed.Broadcast()
}

func (g *gate) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.limit > 0 && g.open >= g.limit {
		g.freed.Wait()
	}
}

// watch follows the states that http.Server reports. A hijacked connection counts until its tunnel ends, see leave.
func (g *gate) watch(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		g.mu.Lock()
		g.open++
		g.mu.Unlock()
	case http.StateClosed:
		g.leave()
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	g.freed.Broadcast()
}
