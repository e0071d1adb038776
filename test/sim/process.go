package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcached"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
)

const space = "shop"

var app = head.To{Network: "sim", Address: "app"}

func route(index int) string { return fmt.Sprintf("s%d", index+1) }

// cookie is the session cookie of the fleet.
var cookie = sidecar.Cookie{Name: "__Host-psid", SameSite: "Lax"}

// process is one incarnation of a sidecar: the real engine over the real store.
type process struct {
	w           *world
	index       int
	route       string
	incarnation uint64
	wrong       wrong     // its clock
	random      io.Reader // of its own
	handler     *sidecar.Handler
	store       *memcached.Store
	links       []*link
	open        atomic.Int64  // requests and calls under way
	dead        chan struct{} // closed by a kill, or when a drain has ended
	draining    bool          // guarded by world.mu
	stop        context.CancelFunc
	ran         chan struct{}
}

// start begins a new incarnation of a sidecar.
func (w *world) start(index int) *process {
	w.set(func() { w.incarnations++ })
	p := &process{
		w: w, index: index, route: route(index), wrong: w.scenario.wrong(index), incarnation: scramble(w.scenario.Seed<<8 + w.incarnations),
		dead: make(chan struct{}), ran: make(chan struct{}),
	}
	p.wire()
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.store.Start(ctx)
	go func() {
		<-time.After(w.travel(p.route + " runs")) // not at the instant of the store's watchers, lest chance decide who comes first
		p.handler.Run(ctx)
		close(p.ran)
	}()
	return p
}

// wire puts a sidecar together, as cmd/pillion does.
func (p *process) wire() {
	s := p.w.scenario
	var now settings
	p.w.set(func() { now = p.w.settings[p.index] })
	p.random = &seeded{r: rand.NewChaCha8([32]byte(bytes.Repeat(fmt.Appendf(nil, "%016x", p.incarnation), 2)))}
	codec, keys, secrets := p.keys(now)
	m, log := metrics.New(prometheus.NewRegistry()), slog.New(p.w.history.slog(p.route))
	p.connect(memcached.Options{
		Space: space, Codec: codec, Copies: s.Copies, Opened: 1 << 20, TouchSlack: s.Idle/10 + time.Minute, Random: p.random, Metrics: m, Log: log,
		Nodes: p.nodes(now), NewLife: func(node string) { p.handler.NewLife(node) },
	})
	seen := p.w.store(p)
	fences, ok := seen.(sidecar.Fences)
	if !ok {
		fences = p.store
	}
	p.handler = sidecar.New(sidecar.Options{
		Store: skewed{seen, p.wrong}, Upstream: app, Keys: keys, Space: space, Route: p.route, Incarnation: p.incarnation, Sticky: s.Sticky,
		Cookie: cookie, Idle: s.Idle, Lifetime: 24 * time.Hour, RenewGrace: renewGrace, Revocation: revocation, MaxSize: 64 << 10, InlineMax: 16 << 10, MaxPatch: 64 << 10,
		Commit: s.Commit, CommitTimeout: 250 * time.Millisecond, Copies: s.Copies, UnknownFor: time.Minute,
		Lock: s.Lock, LockWait: time.Second, Strict: true, MemoryLimit: s.Memory, HeaderCache: 1 << 20, Random: p.random, Metrics: m, Log: log,
		Call: p.call, Fences: fences, Keyed: p.store, Sealer: skewedSealer{codec, p.wrong}, Secrets: secrets,
	})
	if s.Peers {
		peers := map[string]string{}
		for i := range s.Skew {
			peers[route(i)] = route(i)
		}
		p.handler.SetPeers(peers)
	}
}

// connect makes the store and a link to each node.
func (p *process) connect(o memcached.Options) {
	byAddress := map[string]*link{}
	for _, n := range p.w.nodes {
		l := p.w.newLink(p.route+"-"+n.name, n, p.wrong)
		p.links = append(p.links, l)
		byAddress[n.name+".test:11211"] = l
	}
	o.Dial = func(ctx context.Context, _, address string) (net.Conn, error) { return byAddress[address].dial(ctx) }
	var err error
	p.store, err = memcached.New(o)
	must(err)
}

// kill is kill -9: its connections break, what it has sent may still arrive, what it has in memory is gone. Its code cannot be
// stopped, but it reaches nothing any more, and nobody hears of it.
func (p *process) kill() {
	p.w.trace("%s is killed", p.route)
	close(p.dead)
	for _, l := range p.links {
		l.sever()
	}
	p.w.background.Go(p.bury)
}

// drain is a deploy: no new requests, those under way are finished, then memory is written to the ring.
func (p *process) drain() {
	p.w.trace("%s drains", p.route)
	p.w.set(func() { p.draining = true })
	p.quiet()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	p.handler.Flush(ctx)
	p.w.trace("%s has drained", p.route)
	close(p.dead)
	p.bury()
	for _, l := range p.links {
		l.sever()
	}
}

// bury waits for everything that the process has begun.
func (p *process) bury() {
	p.quiet()
	p.stop()
	<-p.ran
	p.store.Close()
}

// quiet waits until nothing is under way.
func (p *process) quiet() {
	for p.open.Load() > 0 {
		<-time.After(time.Millisecond)
	}
}

func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// seeded is a source of randomness that several goroutines may draw from.
type seeded struct {
	mu sync.Mutex
	r  io.Reader
}

func (s *seeded) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.r.Read(b)
}

// must is for what cannot fail: a constant configuration.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
