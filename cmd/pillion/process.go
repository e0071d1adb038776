package main

import (
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcached"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
)

// process is one running sidecar: its parts, and what the admin listener asks about it.
type process struct {
	started  time.Time
	host     string
	route    string
	log      *slog.Logger
	registry *prometheus.Registry
	metrics  *metrics.Metrics
	current  func() *config.Config

	store   *memcached.Store
	handler *sidecar.Handler
	engine  *engine

	data, admin, api       net.Listener
	adminServer, apiServer *http.Server

	fleet *fleet // nil without a control plane

	app       *appWatch
	departure *departure
	settling  sync.Mutex
	gone      atomic.Bool // visitors are sent elsewhere
}

func newProcess(c *config.Config, log *slog.Logger) (*process, error) {
	p := &process{started: time.Now(), host: c.Host, log: log, registry: prometheus.NewRegistry()}
	metrics.NewProcess(p.registry, version(), ready(p))
	p.metrics = metrics.New(p.registry)
	p.app = newAppWatch(c, p.settle, log)
	p.departure = &departure{apply: func(bool) { p.settle() }, waiting: p.waits}
	p.adminServer = &http.Server{ReadHeaderTimeout: 10 * time.Second}
	p.apiServer = &http.Server{ReadHeaderTimeout: 10 * time.Second}
	if p.host == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		p.host = host
	}
	return p, nil
}

// wireSessions builds the ring, the session engine over it and the HTTP engine over that.
func (p *process) wireSessions(c *config.Config) error {
	if p.route = c.Route; p.route == "" {
		p.route = config.RouteFor(p.host, p.data.Addr().(*net.TCPAddr).Port)
	}
	nodes, err := ringNodes(c, p.host)
	if err != nil {
		return err
	}
	codec, err := blobCodec(c)
	if err != nil {
		return err
	}
	stored, err := storeOptions(c, nodes, codec, p.metrics, p.log)
	if err != nil {
		return err
	}
	stored.NewLife = func(node string) { p.handler.NewLife(node) }
	if p.store, err = memcached.New(stored); err != nil {
		return err
	}
	sessions, err := sessionOptions(c, p.route, p.metrics, p.log)
	if err != nil {
		return err
	}
	if sessions.Keys, err = idKeys(c); err != nil {
		return err
	}
	sessions.Store, sessions.Fences, sessions.Keyed, sessions.Sealer, sessions.Call = p.store, p.store, p.store, codec, peerCaller()
	sessions.AppRefused = p.app.kick
	p.handler = sidecar.New(sessions)
	p.handler.SetPeers(peerAddresses(c))

	served := engineOptions(c, p.metrics, p.log)
	served.Handler, served.Peer = p.handler, p.handler.Peer
	served.Health = func() bool { blocked, _ := p.Ready(); return len(blocked) == 0 }
	if served.TLS, err = clientTLS(p.current); err != nil {
		return err
	}
	p.engine = newEngine(served, c.ProxyProtocol)
	p.fleet, err = newFleet(p, c)
	return err
}

func (p *process) close() {
	for _, l := range []net.Listener{p.data, p.admin, p.api} {
		if l != nil {
			_ = l.Close()
		}
	}
	if p.store != nil {
		p.store.Close()
	}
}

// reload applies the settings that can change while serving.
func (p *process) reload(change config.Change, level *slog.LevelVar) {
	if len(change.Restart) > 0 {
		p.log.Warn("settings changed that need a restart", "keys", change.Restart)
	}
	c := change.New
	err := p.applyNodes(c)
	if err == nil {
		err = p.rekey(c)
	}
	if err != nil {
		p.metrics.ConfigReloads.WithLabelValues("rejected").Inc()
		p.log.Error("the new configuration could not be applied", "error", err)
		return
	}
	p.handler.SetIgnore(c.Session.Ignore)
	p.handler.SetCreations(c.Creations)
	p.engine.SetLimits(head.Limits(c.Limits))
	level.Set(c.Log.Level)
	p.metrics.ConfigReloads.WithLabelValues("ok").Inc()
	p.log.Info("configuration reloaded", present("keys", change.Applied)...)
}

func (p *process) rekey(c *config.Config) error {
	keys, err := idKeys(c)
	if err != nil {
		return err
	}
	codec, err := blobCodec(c)
	if err != nil {
		return err
	}
	p.store.SetCodec(codec)
	p.handler.SetKeys(keys, codec, secrets(c))
	p.handler.SetPeers(p.fleet.addresses(c))
	return nil
}

// Ready tells whether fronts should send visitors here. Ring trouble after the first contact only degrades: every sidecar sees it, and
// the whole fleet would leave at once.
func (p *process) Ready() (blocked, degraded []string) {
	if p.departure.leaving.Load() {
		blocked = append(blocked, "draining")
	}
	if !p.app.up.Load() {
		blocked = append(blocked, "the app does not take requests")
	}
	if !p.current().Sticky && !p.store.Reachable() {
		blocked = append(blocked, "no session node has answered yet")
	}
	for _, n := range p.store.Nodes() {
		if n.State != memcached.Up {
			degraded = append(degraded, "node "+n.Name+" is "+string(n.State))
		}
	}
	return blocked, append(degraded, p.fleet.away()...)
}

// Status is what /status shows.
func (p *process) Status() any {
	c := p.current()
	r := admin.Report{
		Version: version(), App: c.App, Space: c.Space, Route: p.route, Mode: mode(c),
		Started: p.started, Uptime: time.Since(p.started).Round(time.Second).String(), Sessions: p.handler.InMemory(), ConfigHash: c.Hash(),
	}
	for _, n := range p.store.Nodes() {
		r.Ring = append(r.Ring, admin.Node{Name: n.Name, Address: n.Address, State: string(n.State), Local: n.Local, LastError: n.Error})
	}
	for _, k := range c.Keys {
		r.Keys = append(r.Keys, admin.Key{ID: k.ID, Use: map[bool]string{true: "seal", false: "open"}[k.Seal]})
	}
	return r
}
