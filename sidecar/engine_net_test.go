package sidecar_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// listener accepts in-memory connections.
type listener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newListener() *listener {
	l := &listener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.close(); return nil }
func (l *listener) Addr() net.Addr { return address("192.0.2.80:443") }

func (l *listener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.dialFrom(ctx, "198.51.100.7:5000")
}

// dialFrom connects as if from that address.
func (l *listener) dialFrom(ctx context.Context, from string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- &conn{theirs, address(from)}:
		return ours, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type conn struct {
	net.Conn
	remote address
}

func (c *conn) RemoteAddr() net.Addr { return c.remote }

type address string

func (a address) Network() string { return "tcp" }
func (a address) String() string  { return string(a) }

// node is one memcached and the wire to it, which a test can cut, slow down and listen to.
type node struct {
	name   string
	server *memcachedtest.Server

	mu     sync.Mutex
	dead   bool
	silent bool
	delay  time.Duration // until a command arrives, but for those about the canary
	sent   []string      // the command lines that arrived, but for those about the canary
}

func newNode(t testing.TB, name string) *node {
	n := &node{name: name, server: memcachedtest.New(memcachedtest.Options{})}
	t.Cleanup(func() { n.server.Close() })
	return n
}

func (n *node) dial(ctx context.Context) (net.Conn, error) {
	n.mu.Lock()
	dead := n.dead
	n.mu.Unlock()
	if dead {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	c, err := n.server.Dial(ctx)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, node: n, late: make(chan parcel, 4096), closed: make(chan struct{})}
	go w.deliver()
	return w, nil
}

// kill ends the node; what it held is gone.
func (n *node) kill() {
	n.set(func() { n.dead = true })
	n.server.Restart()
}

// revive starts it again, empty, and waits until sidecars have noticed.
func (n *node) revive() {
	n.set(func() { n.dead = false })
	wait(5 * time.Second)
}

// restart is a kill and a start that nobody had the time to notice.
func (n *node) restart() { n.server.Restart() }

// silence makes the node take commands and never answer.
func (n *node) silence(yes bool) { n.set(func() { n.silent = yes }) }

func (n *node) slow(d time.Duration) { n.set(func() { n.delay = d }) }

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// commands returns what was sent since the last call.
func (n *node) commands() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	sent := n.sent
	n.sent = nil
	return sent
}

// operations counts what all nodes were asked since the last call, by then also in the background.
func (f *fleet) operations() int {
	wait(time.Millisecond)
	total := 0
	for _, n := range f.nodes {
		total += len(n.commands())
	}
	return total
}

// keys lists the keys that any node holds, but for the canaries.
func (f *fleet) keys() []string {
	var keys []string
	for _, n := range f.nodes {
		for _, key := range n.server.Keys() {
			if !strings.HasPrefix(key, "p1:!") && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return keys
}

// wire is a connection to a node. Many commands may be on their way at once.
type wire struct {
	net.Conn
	node   *node
	rest   []byte // the begin of a command
	mute   bool
	late   chan parcel
	behind atomic.Int32 // commands that are late
	once   sync.Once
	closed chan struct{}
}

// parcel is a command on its way.
type parcel struct {
	command []byte
	arrives time.Time
}

func (w *wire) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for n := memcachedtest.Message(w.rest); n > 0; n = memcachedtest.Message(w.rest) {
		command := w.rest[:n:n]
		w.rest = w.rest[n:]
		if err := w.send(command); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *wire) send(command []byte) error {
	line, _, _ := strings.Cut(string(command), "\r\n")
	counts := !strings.Contains(line, "p1:!")
	w.node.mu.Lock()
	delay := w.node.delay
	w.mute = w.mute || w.node.silent
	if counts {
		w.node.sent = append(w.node.sent, line)
	}
	w.node.mu.Unlock()
	if !counts {
		delay = 0
	}
	switch {
	case w.mute:
		return nil
	case delay > 0 || w.behind.Load() > 0:
		w.behind.Add(1)
		w.late <- parcel{command, time.Now().Add(delay)}
		return nil
	}
	_, err := w.Conn.Write(command)
	if errors.Is(err, io.ErrClosedPipe) {
		err = syscall.EPIPE
	}
	return err
}

// deliver writes what is late when it is due.
func (w *wire) deliver() {
	for {
		select {
		case p := <-w.late:
			wait(time.Until(p.arrives))
			if _, err := w.Conn.Write(p.command); err != nil {
				_ = w.Close()
			}
			w.behind.Add(-1)
		case <-w.closed:
			return
		}
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return w.Conn.Close()
}
