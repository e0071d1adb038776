package h2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Serve takes connections from l until Shutdown and returns nil then.
func (e *Engine) Serve(l net.Listener) error {
	if !e.enter(l) {
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	defer e.accepting.Done()
	err := e.server.Serve(l)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil
	}
	return err
}

func (e *Engine) enter(l net.Listener) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return false
	}
	e.listeners = append(e.listeners, l)
	e.accepting.Add(1)
	return true
}

// Drain asks clients to go elsewhere, and still serves everyone: the health path answers 503 and each response says GOAWAY. Nothing that is
// under way is disturbed.
func (e *Engine) Drain() { e.draining.Store(true) }

// Undrain takes Drain back.
func (e *Engine) Undrain() { e.draining.Store(false) }

// Exchanges is how many requests are under way.
func (e *Engine) Exchanges() int { return int(e.exchanges.Load()) }

// Shutdown serves what has already arrived and closes everything: the listeners, then connections as they become idle. When ctx ends first, what
// is left is cut off and its error returned.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.Drain()
	e.stopAccepting()
	e.clients.settle(ctx) // http.Server.Shutdown drops a request whose head it reads after its start
	err := e.server.Shutdown(ctx)
	e.cancel()
	if err != nil {
		err = errors.Join(err, e.server.Close())
	}
	for deadline := time.Now().Add(head.LastCalls); e.exchanges.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	e.transport.CloseIdleConnections()
	return err
}

func (e *Engine) stopAccepting() {
	e.mu.Lock()
	e.closing = true
	for _, l := range e.listeners {
		_ = l.Close()
	}
	e.mu.Unlock()
	e.accepting.Wait()
}
