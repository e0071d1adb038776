package h1

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/acceptqueue"
	"github.com/pillion-proxy/pillion/internal/socket"
)

// Serve accepts connections on l until Shutdown and returns nil then. It may be called for several listeners.
func (e *Engine) Serve(l net.Listener) error {
	own := &listener{Listener: l}
	e.mu.Lock()
	if e.closing {
		e.mu.Unlock()
		return errors.Join(http.ErrServerClosed, l.Close())
	}
	e.start()
	e.listeners[own] = struct{}{}
	e.running.Add(1)
	e.mu.Unlock()
	defer e.running.Done()
	defer own.ended.Store(true)
	for wait := time.Duration(0); ; {
		e.awaitRoom()
		c, err := own.accept()
		switch {
		case err == nil:
			wait = 0
			e.begin(c)
			continue
		case own.closing.Load():
			return nil
		case !isTemporary(err):
			return err
		}
		wait = min(max(2*wait, 5*time.Millisecond), time.Second) // out of file descriptors, mostly: some will be free again
		e.options.Log.Warn("accept failed", "error", err, "again_in", wait)
		time.Sleep(wait)
	}
}

func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// start runs what goes on beside the connections, once. e.mu is held.
func (e *Engine) start() {
	if e.started {
		return
	}
	e.started = true
	e.due.Store(now())
	e.beside.Go(e.sweep)
	if e.handover != nil {
		e.beside.Go(func() { _ = e.options.HTTP2.Serve(e.handover) })
	}
}

// begin serves a connection.
func (e *Engine) begin(raw net.Conn) {
	c := &conn{engine: e, raw: raw, nc: raw, socket: socket.Of(raw)}
	c.take, c.give = c.readSocket, c.writeSocket
	c.setRemote(addressOf(raw.RemoteAddr()))
	e.mu.Lock()
	e.open++
	c.index = len(e.conns)
	e.conns = append(e.conns, c)
	e.running.Add(1)
	e.mu.Unlock()
	e.wake()
	go c.serve(false)
}

func (c *conn) setRemote(a netip.AddrPort) {
	if a.IsValid() {
		c.remote = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		c.remoteIP = c.remote.Addr().String()
	}
}

// addressOf is not valid for what has none, such as a Unix socket.
func addressOf(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort()
	}
	if a == nil {
		return netip.AddrPort{}
	}
	parsed, _ := netip.ParseAddrPort(a.String())
	return parsed
}

// forget takes a connection off the list.
func (e *Engine) forget(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := len(e.conns) - 1
	e.conns[c.index] = e.conns[last]
	e.conns[c.index].index = c.index
	e.conns[last] = nil
	e.conns = e.conns[:last]
}

// left makes room for another connection.
func (e *Engine) left() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open--
	e.freed.Broadcast()
}

// awaitRoom returns when there is room for one more. The kernel keeps those who wait.
func (e *Engine) awaitRoom() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.closing {
		if limit := e.limits.Load().Connections; limit <= 0 || e.open < limit {
			return
		}
		e.freed.Wait()
	}
}

// listener accepts until it is closed, and then what the kernel has already accepted: those clients have sent their request and would
// get a reset.
type listener struct {
	net.Listener
	closing atomic.Bool
	ended   atomic.Bool
	emptied bool
	queued  []net.Conn // the rest after close; used by accept alone
}

// close wakes accept, which alone may empty the queue.
func (l *listener) close() {
	l.closing.Store(true)
	d, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok || d.SetDeadline(pastDeadline) != nil {
		_ = l.Listener.Close()
	}
}

func (l *listener) accept() (net.Conn, error) {
	if !l.closing.Load() {
		c, err := l.Listener.Accept()
		if err == nil || !l.closing.Load() {
			return c, err
		}
	}
	if !l.emptied {
		l.emptied = true
		l.queued, _ = acceptqueue.Close(l.Listener)
	}
	if len(l.queued) == 0 {
		return nil, net.ErrClosed
	}
	c := l.queued[0]
	l.queued = l.queued[1:]
	return c, nil
}
