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
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/reverseproxy"
	"github.com/pillion-proxy/pillion/sidecar"
)

// frontDial is short: a visitor waits while a machine that is gone says nothing, and another sidecar can serve.
const frontDial = time.Second

// frontLimits are the defaults of a sidecar.
var frontLimits = head.Limits{
	HeaderBytes: 64 << 10, HeaderCount: 100, Connections: 10000, Idle: 75 * time.Second, HeaderTimeout: 10 * time.Second,
}

// frontProcess is one running front: its parts, and what the admin listener asks about it.
type frontProcess struct {
	started     time.Time
	log         *slog.Logger
	registry    *prometheus.Registry
	front       *sidecar.Front
	engine      *reverseproxy.Engine
	certificate *certificate // nil over plain TCP

	data, admin net.Listener
	adminServer *http.Server
	departure   *departure
}

func newFrontProcess(s frontSettings, trusted []netip.Prefix, stderr io.Writer) (*frontProcess, error) {
	p := &frontProcess{started: time.Now(), log: slog.New(slog.NewJSONHandler(stderr, nil)), registry: prometheus.NewRegistry()}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p.adminServer = &http.Server{ReadHeaderTimeout: 10 * time.Second}
	m := metrics.NewFront(p.registry)
	p.front = sidecar.NewFront(sidecar.FrontOptions{
		Probe: healthProber(), IntN: rand.IntN, Metrics: m, Log: p.log,
	})
	served := head.EngineOptions{
		Handler: s.handler(p.front), HealthPath: s.healthPath, Health: p.front.Ready, Limits: frontLimits, UpstreamTimeout: s.timeout, TrustedProxies: trusted,
		Dial:      (&net.Dialer{Timeout: frontDial}).DialContext,
		OwnAnswer: func(token string) { m.OwnAnswers.WithLabelValues(token).Inc() }, Log: p.log,
	}
	if s.tlsCert != "" {
		p.certificate = &certificate{cert: s.tlsCert, key: s.tlsKey}
		if err := p.certificate.load(); err != nil {
			return nil, err
		}
		served.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: p.certificate.get}
	}
	p.engine = reverseproxy.New(served)
	p.departure = &departure{apply: p.leave, waiting: p.waits}
	return p, nil
}

// leave has what stands before this front send visitors elsewhere, or here again. It serves all the same.
func (p *frontProcess) leave(leave bool) {
	if leave {
		p.log.Info("draining")
		p.engine.Drain()
		return
	}
	p.log.Info("serving again")
	p.engine.Undrain()
}

// waits is what an end would cut short now.
func (p *frontProcess) waits() []string {
	if n := p.engine.Exchanges(); n > 0 {
		return []string{fmt.Sprintf("%d requests under way", n)}
	}
	return nil
}

// open takes both addresses before any is served.
func (p *frontProcess) open(s frontSettings) (err error) {
	if p.data, err = listen("listen", s.listen); err != nil || s.admin == "" {
		return err
	}
	if p.admin, err = listen("admin", s.admin); err != nil {
		return err
	}
	p.adminServer.Handler = admin.New(admin.Options{Listener: p.admin.Addr(), Readiness: p, Status: p, Leaver: p.departure, Metrics: p.registry})
	return nil
}

// start runs what goes on beside the requests until ctx ends.
func (p *frontProcess) start(ctx context.Context) *sync.WaitGroup {
	var background sync.WaitGroup
	background.Go(func() { p.front.Run(ctx) })
	background.Go(func() { onHangup(ctx, p.reload) })
	return &background
}

func (p *frontProcess) serve() <-chan error {
	failed := make(chan error, 2)
	go serveOn(failed, "data", p.engine.Serve, p.data)
	if p.admin != nil {
		go serveOn(failed, "admin", p.adminServer.Serve, p.admin)
	}
	return failed
}

func (p *frontProcess) drain(linger time.Duration) {
	p.departure.end()
	time.Sleep(linger)
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := p.engine.Shutdown(ctx); err != nil {
		p.log.Warn("requests were cut off", "error", err)
	}
}

func (p *frontProcess) close() {
	for _, l := range []net.Listener{p.data, p.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// reload reads the certificate again; a bad one changes nothing.
func (p *frontProcess) reload() {
	if p.certificate == nil {
		return
	}
	if err := p.certificate.load(); err != nil {
		p.log.Error("the new certificate is wrong; the old one stays", "error", err)
		return
	}
	p.log.Info("certificate reloaded")
}

// Ready tells whether what stands before this front should send visitors here.
func (p *frontProcess) Ready() (blocked, degraded []string) {
	if p.departure.leaving.Load() {
		blocked = append(blocked, "draining")
	}
	if !p.front.Ready() {
		blocked = append(blocked, "no sidecar wants visitors")
	}
	for _, b := range p.front.Backends() {
		if !b.Serving() {
			degraded = append(degraded, "sidecar "+b.Route+" is "+b.Health)
		}
	}
	return blocked, degraded
}

// frontReport is what /status shows.
type frontReport struct {
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Uptime   string          `json:"uptime"`
	Backends []backendReport `json:"backends"`
}

type backendReport struct {
	Route    string `json:"route"`
	Address  string `json:"address"`
	Health   string `json:"health"`
	Requests int64  `json:"requests"` // under way
}

// Status is what /status shows.
func (p *frontProcess) Status() any {
	r := frontReport{Version: version(), Started: p.started, Uptime: time.Since(p.started).Round(time.Second).String()}
	for _, b := range p.front.Backends() {
		r.Backends = append(r.Backends, backendReport{b.Route, b.Address, b.Health, b.Requests})
	}
	return r
}

// certificate is a pair of files, and what was in them when they were last right.
type certificate struct {
	cert, key string
	current   atomic.Pointer[tls.Certificate]
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return hinted{fmt.Errorf("tls: %w", err), "--tls-cert wants the chain, the server's own certificate first, and --tls-key its key, both as PEM"}
	}
	c.current.Store(&pair)
	return nil
}

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.current.Load(), nil
}

// healthProber asks for the health path on a connection of its own each time: that it is accepted is half of the answer.
func healthProber() sidecar.Prober {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
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
