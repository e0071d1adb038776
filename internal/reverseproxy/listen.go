package reverseproxy

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/acceptqueue"
	"github.com/pillion-proxy/pillion/internal/head"
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
	if e.options.TLS != nil {
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

// Exchanges is how many requests are under way, tunnels included.
func (e *Engine) Exchanges() int { return int(e.exchanges.Load()) }

// Shutdown serves what has already arrived, the kernel's accept queue included, and closes everything: the listeners, then
// connections as they become idle, at last the tunnels. When ctx ends first, what is left is cut off and its error returned.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.Drain()
	e.stopAccepting()
	e.clients.settle(ctx) // http.Server.Shutdown drops a request whose head it reads after its start
	err := e.server.Shutdown(ctx)
	e.cancel() // tunnels have no end of their own
	if err != nil {
		err = errors.Join(err, e.server.Close())
	}
	for deadline := time.Now().Add(head.LastCalls); e.exchanges.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
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

// listener accepts as long as the gate lets clients in. When it is closed it first accepts what the kernel has already
// accepted: those clients have sent their request and would get a reset.
type listener struct {
	net.Listener
	clients *clients
	closing atomic.Bool
	closed  bool       // this and the next are used by Accept alone
	queued  []net.Conn // what came before it was closed
}

// close wakes Accept, which alone may empty the queue.
func (l *listener) close() {
	l.closing.Store(true)
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok || d.SetDeadline(time.Unix(1, 0)) != nil {
		_ = l.Listener.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	if !l.closing.Load() {
		l.clients.wait()
		if c, err := l.Listener.Accept(); err == nil || !l.closing.Load() {
			return c, err
		}
	}
	if !l.closed { // also when close came between two calls
		l.closed = true
		l.queued, _ = acceptqueue.Close(l.Listener)
	}
	if len(l.queued) == 0 {
		return nil, net.ErrClosed
	}
	c := l.queued[0]
	l.queued = l.queued[1:]
	return c, nil
}
