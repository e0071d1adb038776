package sidecar_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// backends are HTTP servers that note what they execute. They take the place of sidecars, and can be killed with all their connections.
type backends struct {
	t        testing.TB
	all      []*server
	executed sync.Map // method and number of a request to *atomic.Int64
}

type server struct {
	of *backends

	mu       sync.Mutex
	listener *listener // nil while it is dead
	http     *http.Server
}

func newBackends(t testing.TB, n int) *backends {
	b := &backends{t: t}
	for range n {
		s := &server{of: b}
		s.start()
		t.Cleanup(s.kill)
		b.all = append(b.all, s)
	}
	return b
}

func (s *server) start() {
	l := newListener()
	server := &http.Server{Handler: s.of}
	s.mu.Lock()
	s.listener, s.http = l, server
	s.mu.Unlock()
	go func() { _ = server.Serve(l) }()
}

func (s *server) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		_ = s.http.Close()
		s.listener, s.http = nil, nil
	}
}

// ServeHTTP executes the request, and takes its time before it says so.
func (b *backends) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if number := r.Header.Get("X-Number"); number != "" {
		n, _ := b.executed.LoadOrStore(r.Method+" "+number, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		wait(20 * time.Millisecond)
	}
}

func (b *backends) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var i int
	if _, err := fmt.Sscanf(address, "b%d:80", &i); err != nil {
		return nil, err
	}
	s := b.all[i]
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if l == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return l.dial(ctx, network, address)
}

// loaded is a front before them.
type loaded struct{ client *http.Client }

func (b *backends) front() *loaded {
	var routes []string
	for i := range b.all {
		routes = append(routes, fmt.Sprintf("b%d", i))
	}
	transport := &http.Transport{DialContext: startFront(b.t, "psid", b.dial, routes...).dial}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &loaded{&http.Client{Transport: transport}}
}

// send sends one request of a visitor and returns its status, 0 when there was no answer.
func (l *loaded) send(method string, visitor, n int) int {
	var body io.Reader
	if method == "POST" && n%2 == 0 {
		body = strings.NewReader("a body")
	}
	req, err := http.NewRequest(method, "http://front/", body)
	if err != nil {
		return 0
	}
	req.Header.Set("X-Number", fmt.Sprintf("%d/%d", visitor, n))
	resp, err := l.client.Do(req)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode
}
