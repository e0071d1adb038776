package xds

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/internal/metrics"
)

const (
	within = 10 * time.Second
	cookie = "__Host-psid" // with a "-", which is an operator in Lua patterns
)

// eventually polls until is is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(within)
	for !is() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// syncBuffer collects logs.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// plane is a control plane on a real port.
type plane struct {
	*ControlPlane
	t       *testing.T
	address string
	log     *syncBuffer
	stopped bool
}

// startPlane starts a control plane; address "" takes a free port.
func startPlane(t *testing.T, address string, o Options) *plane {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{t: t, address: l.Addr().String(), log: &syncBuffer{}}
	o.Metrics, o.Log = metrics.NewControlPlane(prometheus.NewRegistry()), slog.New(slog.NewTextHandler(p.log, nil))
	if p.ControlPlane, err = New(l, o); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); _ = p.Serve() }()
	t.Cleanup(func() {
		p.stop()
		<-served
		if t.Failed() {
			t.Logf("control plane:\n%s", p.log)
		}
	})
	return p
}

func (p *plane) stop() {
	if !p.stopped {
		p.stopped = true
		p.Stop()
	}
}

// members are the sidecars that are served.
func (p *plane) members() (routes []string) {
	all, _ := p.registry.view(time.Now())
	for _, m := range all {
		if m.Hidden == "" {
			routes = append(routes, m.Route)
		}
	}
	return routes
}

// backend is a stand-in for a sidecar with its app: it answers with its route, and registers.
type backend struct {
	t        *testing.T
	Sidecar  Sidecar
	server   *http.Server
	client   *Client
	cancel   context.CancelFunc
	requests atomic.Int64 // to /, by whatever method
	mu       sync.Mutex
	values   map[string]*structpb.Struct
}

// startBackend listens and, when targets are given, registers.
func startBackend(t *testing.T, app, route string, targets ...string) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{t: t, values: map[string]*structpb.Struct{}, Sidecar: Sidecar{
		App: app, Space: app, Route: route, Address: l.Addr().String(), Cookie: cookie, HealthPath: "/ready",
	}}
	b.server = &http.Server{Handler: b}
	go func() { _ = b.server.Serve(l) }()
	t.Cleanup(func() { _ = b.server.Close() })
	b.register(nil, targets...)
	return b
}

func (b *backend) register(secure *tls.Config, targets ...string) {
	b.t.Helper()
	if len(targets) == 0 {
		return
	}
	client, err := NewClient(ClientOptions{Targets: targets, TLS: secure, Sidecar: b.Sidecar, Log: slog.New(slog.DiscardHandler),
		Changed: func(name string, value *structpb.Struct) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.values[name] = value
			return nil
		}})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); client.Run(ctx) }()
	b.client, b.cancel = client, func() { cancel(); <-done }
	b.t.Cleanup(b.cancel)
}

func (b *backend) value(name string) *structpb.Struct {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.values[name]
}

// kill ends the sidecar as kill -9 would: connections and stream at once.
func (b *backend) kill() {
	_ = b.server.Close()
	b.cancel()
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ready":
		return
	case "/big":
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"big"`)
		_, _ = w.Write(bytes.Repeat([]byte("abcdefgh"), 1300))
		return
	case "/ws":
		b.echo(w, r)
		return
	}
	b.requests.Add(1)
	switch r.URL.Path {
	case "/break-" + b.Sidecar.Route: // the connection breaks after the app had the request
		panic(http.ErrAbortHandler)
	case "/unexecuted-" + b.Sidecar.Route:
		w.Header().Set("Pillion-Not-Executed", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	fmt.Fprint(w, b.Sidecar.Route)
}

func (b *backend) echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, text, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, append([]byte(b.Sidecar.Route+" "), text...)); err != nil {
			return
		}
	}
}

// write puts a file into a folder of the test.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// freePort returns a port for servers that cannot take port 0. It is below those that connections get by themselves, which would take it
// again before the server does.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close()
			return l.Addr().(*net.TCPAddr).Port
		}
	}
	t.Fatal("no free port")
	return 0
}
