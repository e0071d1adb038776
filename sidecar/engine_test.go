package sidecar_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/h1"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcached"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
)

// The engine_*_test.go files hold the whole data path to its contract: real HTTP engine, session engine and ring store, over an
// embedded memcached and an app that does what each request tells it. All of it is one process joined by in-memory connections,
// so that a synctest bubble holds it: time is fake, and a test that waits an hour takes no time.

// fleet is one app, its nodes and its sidecars.
type fleet struct {
	t       testing.TB
	app     *app
	nodes   []*node
	started bool
}

// newFleet makes the app and nodes n1, n2, ... It must run in a bubble.
func newFleet(t testing.TB, nodes int) *fleet {
	f := &fleet{t: t, app: newApp(t)}
	for i := range nodes {
		f.nodes = append(f.nodes, newNode(t, fmt.Sprintf("n%d", i+1)))
	}
	return f
}

// bothModes runs a test in sticky and in shared mode, with a fleet of two nodes and the first of its sidecars.
func bothModes(t *testing.T, test func(t *testing.T, f *fleet, p *process), changes ...func(*setup)) {
	t.Helper()
	for _, sticky := range []bool{true, false} {
		t.Run(map[bool]string{true: "sticky", false: "shared"}[sticky], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				test(t, f, f.sidecar("a1", append(changes, func(s *setup) { s.Sticky = sticky })...))
			})
		})
	}
}

// inMode runs a test in one mode, as bothModes does.
func inMode(t *testing.T, sticky bool, test func(t *testing.T, f *fleet, p *process), changes ...func(*setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		test(t, f, f.sidecar("a1", append(changes, func(s *setup) { s.Sticky = sticky })...))
	})
}

// setup is what a test may change of a sidecar before it starts.
type setup struct {
	sidecar.Options
	ring    memcached.Options
	http    head.EngineOptions
	secrets [][]byte // the first seals
}

// process is one running sidecar.
type process struct {
	*sidecar.Handler
	f        *fleet
	setup    setup
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	log      *lockedBuffer
	store    *memcached.Store
	engine   *h1.Engine
	listener *listener
	client   *http.Transport
	end      func()
}

const space = "shop"

var secret = bytes.Repeat([]byte{7}, 32)

func (f *fleet) defaults(route string) setup {
	var incarnation [8]byte
	rand.Read(incarnation[:])
	s := setup{secrets: [][]byte{secret}, Options: sidecar.Options{
		Space: space, Route: route, Incarnation: binary.LittleEndian.Uint64(incarnation[:]),
		Upstream: head.To{Network: "tcp", Address: "app.test:80"},
		Cookie:   sidecar.Cookie{Name: "__Host-psid", SameSite: "Lax"},
		Idle:     30 * time.Minute, Lifetime: 24 * time.Hour, RenewGrace: 10 * time.Second, Revocation: 2 * time.Second,
		MaxSize: 64 << 10, InlineMax: 4 << 10, MaxPatch: 64 << 10,
		CommitTimeout: 250 * time.Millisecond, Copies: 2, UnknownFor: time.Minute, LockWait: time.Second,
		Strict: true, MemoryLimit: 64 << 20, HeaderCache: 4 << 20, Random: rand.Reader,
	}}
	s.ring = memcached.Options{Space: space, Copies: 2, Opened: 4 << 20, TouchSlack: 11 * time.Minute}
	s.http = head.EngineOptions{HealthPath: "/.well-known/pillion/ready", UpstreamTimeout: time.Minute}
	return s
}

// sidecar starts one more sidecar.
func (f *fleet) sidecar(route string, changes ...func(*setup)) *process {
	f.t.Helper()
	s := f.defaults(route)
	for _, change := range changes {
		change(&s)
	}
	p := &process{f: f, setup: s, registry: prometheus.NewRegistry(), log: new(lockedBuffer), listener: newListener()}
	p.metrics = metrics.New(p.registry)
	log := slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.wire(s, log)
	p.run()
	if !f.started { // sessions shall be younger than their nodes
		f.started = true
		wait(5 * time.Second)
	}
	return p
}

func (p *process) wire(s setup, log *slog.Logger) {
	p.f.t.Helper()
	var err error
	check := func() {
		if err != nil {
			p.f.t.Fatal(err)
		}
	}
	s.ring.Codec, err = codec(s.secrets...)
	check()
	for _, n := range p.f.nodes {
		s.ring.Nodes = append(s.ring.Nodes, ring.Node{Name: n.name, Address: n.name + ".test:11211"})
	}
	s.ring.Metrics, s.ring.Log = p.metrics, log
	if s.ring.Dial == nil {
		s.ring.Dial = p.f.dialNode
	}
	s.ring.NewLife = func(node string) { p.NewLife(node) }
	p.store, err = memcached.New(s.ring)
	check()
	s.Keys, err = ring.NewKeys(space, s.secrets...)
	check()
	s.Store, s.Metrics, s.Log = p.store, p.metrics, log
	s.Fences, s.Keyed, s.Sealer, s.Secrets = p.store, p.store, s.ring.Codec, s.secrets
	p.Handler = sidecar.New(s.Options)
	s.http.Handler, s.http.Log = p.Handler, log
	if s.http.Dial == nil {
		s.http.Dial = p.f.app.listener.dial
	}
	s.http.OwnAnswer = func(token string) { p.metrics.OwnAnswers.WithLabelValues(token).Inc() }
	s.http.Peer = p.Peer
	p.engine = h1.New(h1.Options{EngineOptions: s.http})
}

func codec(secrets ...[]byte) (*sessioncodec.Codec, error) {
	o := sessioncodec.Options{Space: space}
	for i, s := range secrets {
		// A key has one number for good, whatever its place in the list.
		if key := (sessioncodec.Key{ID: uint32(s[0]), Secret: s}); i == 0 {
			o.Seal = &key
		} else {
			o.Open = append(o.Open, key)
		}
	}
	return sessioncodec.New(o)
}

// alike makes another sidecar like p, but for its route.
func (p *process) alike(s *setup) {
	route, incarnation := s.Route, s.Incarnation
	*s = p.setup
	s.Route, s.Incarnation = route, incarnation
}

// run serves until the test ends or kill is called.
func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	p.store.Start(ctx)
	var background sync.WaitGroup
	background.Go(func() { p.Run(ctx) })
	go func() { _ = p.engine.Serve(p.listener) }()
	p.client = &http.Transport{DisableCompression: true, DialTLSContext: p.listener.dial}
	p.end = sync.OnceFunc(func() {
		p.client.CloseIdleConnections()
		over, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = p.engine.Shutdown(over)
		cancel()
		background.Wait()
		p.store.Close()
	})
	p.f.t.Cleanup(p.end)
}

// kill ends the sidecar without a word: nothing is flushed.
func (p *process) kill() {
	p.f.t.Helper()
	p.end()
}

func (f *fleet) dialNode(ctx context.Context, _, address string) (net.Conn, error) {
	for _, n := range f.nodes {
		if address == n.name+".test:11211" {
			return n.dial(ctx)
		}
	}
	return nil, fmt.Errorf("no node at %s", address)
}

// wait lets time pass. In a bubble that takes none.
func wait(d time.Duration) { <-time.After(d) }

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
