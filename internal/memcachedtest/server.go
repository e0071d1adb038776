// Package memcachedtest is a memcached inside the process: the nodes of `pillion demo`, and of the tests that need a fake clock or
// faults. It speaks the classic text protocol as memcached 1.6.18 does, byte for byte: get, gets, gat, gats, set, add, replace,
// append, prepend, cas, incr, decr, touch, delete, flush_all, version, verbosity, stats, lru_crawler metadump all, quit. A test
// sends both servers the same commands and wants the same answers.
//
// As the real one it counts time in whole seconds, evicts by least recent use where its memory is full, refuses values over 1 MiB
// (and forgets the old value when the command was set), and loses everything at a Restart, nothing at a Resume. It has neither the meta and binary
// protocols, nor TLS, nor slabs: memory is one pool.
package memcachedtest

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

// version is the memcached whose answers these are.
const version = "1.6.18"

// Options of a Server. The zero value is a memcached without arguments.
type Options struct {
	MaxBytes int              // memory of all items, 64 MiB when 0
	MaxItem  int              // largest item with its key and overhead, 1 MiB when 0
	Now      func() time.Time // time.Now when nil
}

// Server is one memcached.
type Server struct {
	opts Options

	mu        sync.Mutex
	memory    *memory
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	closed    bool
	fault     func(Command) Action
}

// New makes an empty server. It has no goroutine until somebody connects.
func New(opts Options) *Server {
	if opts.MaxBytes == 0 {
		opts.MaxBytes = 64 << 20
	}
	if opts.MaxItem == 0 {
		opts.MaxItem = 1 << 20
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	return &Server{
		opts: opts, memory: newMemory(opts),
		conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{},
	}
}

// Serve accepts connections until Close, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		nc, err := l.Accept()
		if err == nil {
			go s.ServeConn(nc)
			continue
		}
		s.mu.Lock()
		_, listening := s.listeners[l] // Close forgets it first, and a Restart may have followed
		delete(s.listeners, l)
		s.mu.Unlock()
		if !listening {
			return nil
		}
		return err
	}
}

// ServeConn serves one connection until it ends, and closes it.
func (s *Server) ServeConn(nc net.Conn) {
	if c := s.open(nc); c != nil {
		c.serve()
		return
	}
	nc.Close()
}

// Dial connects without a network, by net.Pipe: what a simulation in a testing/synctest bubble needs. A closed server refuses.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	near, far := net.Pipe()
	c := s.open(far)
	if c == nil {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: syscall.ECONNREFUSED}
	}
	go c.serve()
	return near, nil
}

// open registers a connection on the memory of now; nil when the server is closed.
func (s *Server) open(nc net.Conn) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	c := newConn(s, nc, s.memory)
	s.conns[c] = struct{}{}
	return c
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close stops listening and drops every connection. What a frozen connection was to do is not done.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		l.Close()
	}
	clear(s.listeners)
	s.dropAll()
}

// Restart is kill -9 and a new start: the memory is empty, CAS ids begin again, every connection is dropped. After a Close, Dial
// is answered again.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = newMemory(s.opts)
	s.closed = false
	s.dropAll()
}

// Resume is a start after a Close with the memory of before: memcached -e.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = false
}

// dropAll ends the connections. Each keeps the memory that it was opened on, so that none reaches into the next life.
func (s *Server) dropAll() {
	for c := range s.conns {
		c.drop()
	}
}
