package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
	"github.com/pillion-proxy/pillion/xds"
)

// frontDial is short: a visitor waits while a machine that is gone says nothing, and another sidecar can serve.
const frontDial = time.Second

// frontLimits are the defaults of a sidecar.
var frontLimits = head.Limits{
	HeaderBytes: 64 << 10, HeaderCount: 100, Connections: 10000, Idle: 75 * time.Second, HeaderTimeout: 10 * time.Second,
}

// frontProcess is one running front: its parts, and what the admin listener asks about it.
type frontProcess struct {
	settings frontSettings
	started  time.Time
	log      *slog.Logger
	registry *prometheus.Registry
	front    *sidecar.Front
	ways     ways
	ports    *ports
	follower *xds.Follower // nil with a static list

	admin       net.Listener
	adminServer *http.Server
	departure   *departure
}

// ways are how sidecars are reached.
type ways struct {
	by atomic.Pointer[map[string]way]
}

func newFrontProcess(s frontSettings, e env) (*frontProcess, error) {
	p := &frontProcess{
		settings: s, started: time.Now(), log: slog.New(slog.NewJSONHandler(e.stderr, nil)), registry: prometheus.NewRegistry(),
		adminServer: &http.Server{ReadHeaderTimeout: 10 * time.Second},
	}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m := metrics.NewFront(p.registry)
	p.front = sidecar.NewFront(sidecar.FrontOptions{Probe: healthProber(p.ways.dial), IntN: rand.IntN, Metrics: m, Log: p.log})
	p.ports = &ports{
		options: head.EngineOptions{
			Handler: s.handler(p.front), HealthPath: s.healthPath, Health: p.front.Ready, Limits: frontLimits, UpstreamTimeout: s.timeout,
			TrustedProxies: s.networks, Dial: p.ways.dial, OwnAnswer: func(token string) { m.OwnAnswers.WithLabelValues(token).Inc() }, Log: p.log,
		},
		failed: make(chan error, 2), open: map[string]*port{}, log: p.log,
		opened: func(o *port) { fmt.Fprintf(e.stdout, "listening on %s\n", o.listener.Addr()) },
	}
	p.departure = &departure{apply: p.leave, waiting: p.waits}
	if len(s.planes) == 0 {
		return p, nil
	}
	secure, err := s.planeTLS()
	if err != nil {
		return nil, err
	}
	p.follower, err = xds.NewFollower(xds.FollowerOptions{Targets: s.planes, TLS: secure, ID: s.id, Apply: p.apply, Metrics: metrics.NewFollower(p.registry), Log: p.log})
	return p, err
}

func (p *frontProcess) leave(leave bool) {
	p.log.Info(map[bool]string{true: "draining", false: "serving again"}[leave])
	p.ports.leave(leave)
}

// waits is what an end would cut short now.
func (p *frontProcess) waits() []string {
	if n := p.ports.exchanges(); n > 0 {
		return []string{fmt.Sprintf("%d requests under way", n)}
	}
	return nil
}

// open takes the addresses that are known at start.
func (p *frontProcess) open(out io.Writer) error {
	if p.follower == nil {
		p.front.SetSite(p.settings.site())
		if err := p.openStatic(); err != nil {
			return err
		}
	}
	if p.settings.admin == "" {
		return nil
	}
	var err error
	if p.admin, err = listen("admin", p.settings.admin); err != nil {
		return err
	}
	p.adminServer.Handler = admin.New(admin.Options{Listener: p.admin.Addr(), Readiness: p, Status: p, Leaver: p.departure, Metrics: p.registry})
	go serveOn(p.ports.failed, "admin", p.adminServer.Serve, p.admin)
	fmt.Fprintf(out, "admin on %s\n", p.admin.Addr())
	return nil
}

// openStatic serves where --listen says. What it cannot open it does not try again: somebody is there to read why.
func (p *frontProcess) openStatic() error {
	s := p.settings
	pair, err := s.certificate()
	if err != nil {
		return err
	}
	return p.ports.set([]portSpec{{name: "visitors", address: s.listen, secure: pair != nil}}, map[string]*tls.Certificate{"visitors": pair})
}

// start runs what goes on beside the requests until ctx ends.
func (p *frontProcess) start(ctx context.Context) *sync.WaitGroup {
	var background sync.WaitGroup
	background.Go(func() { p.front.Run(ctx) })
	background.Go(func() { p.ports.run(ctx) })
	if p.follower == nil {
		background.Go(func() { onHangup(ctx, p.reload) })
	} else {
		background.Go(func() { p.follower.Run(ctx) })
	}
	return &background
}

// drain finishes what is under way. The control plane is followed until then: a sidecar may end before this front does.
func (p *frontProcess) drain(linger time.Duration) {
	p.departure.end()
	time.Sleep(linger)
	p.ports.shutdown()
}

func (p *frontProcess) close() {
	p.ports.shutdown()
	if p.admin != nil {
		_ = p.admin.Close()
	}
}

// reload reads the certificate again; a bad one changes nothing.
func (p *frontProcess) reload() {
	if p.settings.tlsCert == "" {
		return
	}
	if err := p.openStatic(); err != nil {
		p.log.Error("the new certificate is wrong; the old one stays", "error", err)
		return
	}
	p.log.Info("certificate reloaded")
}

// healthProber asks for the health path on a connection of its own each time: that it is accepted is half of the answer.
func healthProber(dial func(ctx context.Context, network, address string) (net.Conn, error)) sidecar.Prober {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: dial},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, address, path string) (ready bool, err error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		if err != nil {
			return false, err
		}
		answer, err := client.Do(request)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return false, sidecar.ErrRefused
		}
		if err != nil {
			return false, err
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK, nil
	}
}
