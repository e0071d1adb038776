// Package apptest is an app's server that can be replaced under load as a careful one is: it accepts nothing more, answers what comes on the
// connections it has, and ends with the last of them. It is for tests and benchmarks; docs/operations.md says that apps must end like this for
// no request to fail.
package apptest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/acceptqueue"
)

// Server serves an app at an address that it keeps.
type Server struct {
	app     http.Handler
	address string

	server   *http.Server
	listener *listener
	leaving  atomic.Bool
	open     atomic.Int64 // connections
}

// Start serves app on a free port of loopback.
func Start(app http.Handler) (*Server, error) {
	s := &Server{app: app, address: "127.0.0.1:0"}
	return s, s.Again()
}

// Address is where it listens.
func (s *Server) Address() string { return s.address }

// Again serves at the same address after an End.
func (s *Server) Again() error {
	l, err := acceptqueue.Listen(s.address)
	if err != nil {
		return err
	}
	s.address, s.listener = l.Addr().String(), &listener{TCPListener: l.(*net.TCPListener), over: make(chan struct{})}
	s.leaving.Store(false)
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute, ConnState: s.follow}
	go func() { _ = s.server.Serve(s.listener) }()
	return nil
}

func (s *Server) follow(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.open.Add(-1)
	}
}

// ServeHTTP has each answer end its connection once the server is to end.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	s.app.ServeHTTP(w, r)
}

// End returns when the server has answered everything and its port is closed, or with an error when ctx ends first.
func (s *Server) End(ctx context.Context) error {
	s.leaving.Store(true)
	s.listener.finish()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for s.open.Load() > 0 {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.server.Close())
		case <-tick.C:
		}
	}
	if err := s.server.Close(); !errors.Is(err, net.ErrClosed) { // Serve may still hold the listener that finish has closed
		return err
	}
	return nil
}

// Close ends it at once, as a crash does.
func (s *Server) Close() error { return s.server.Close() }

// listener accepts, when it is to end, what the kernel has accepted already: closing it would reset those clients, who have sent a request.
type listener struct {
	*net.TCPListener
	ending atomic.Bool
	closed bool // this and the next are used by Accept alone
	queued []net.Conn
	over   chan struct{}
	once   sync.Once
}

// finish returns when the port is closed and what was in its queue is being served.
func (l *listener) finish() {
	l.ending.Store(true)
	_ = l.SetDeadline(time.Unix(1, 0)) // wakes Accept
	<-l.over
}

func (l *listener) Accept() (net.Conn, error) {
	if !l.ending.Load() {
		if c, err := l.TCPListener.Accept(); err == nil || !l.ending.Load() {
			return c, err
		}
	}
	if !l.closed {
		l.closed = true
		l.queued, _ = acceptqueue.Close(l.TCPListener)
	}
	if len(l.queued) == 0 {
		l.once.Do(func() { close(l.over) })
		return nil, net.ErrClosed
	}
	c := l.queued[0]
	l.queued = l.queued[1:]
	return c, nil
}
