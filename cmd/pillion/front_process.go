package main

import (
	"context"
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

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/governor"
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
	watcher  *config.Watcher
	started  time.Time
	log      *slog.Logger
	level    slog.LevelVar
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

func newFrontProcess(c *config.Config, args []string, handler func(*sidecar.Front) head.Handler, e env) (*frontProcess, error) {
	p := &frontProcess{started: time.Now(), registry: prometheus.NewRegistry(), adminServer: &http.Server{ReadHeaderTimeout: 10 * time.Second}}
	p.level.Set(c.Log.Level)
	p.log = slog.New(slog.NewJSONHandler(e.stderr, &slog.HandlerOptions{Level: &p.level}))
	p.watcher = config.NewWatcher(c, args, e.environ, p.reload, func(err error) {
		p.log.Error("the new configuration is wrong; the old one stays", "error", err)
	})
	metrics.NewProcess(p.registry, version(), ready(p))
	m := metrics.NewFront(p.registry)
	p.front = sidecar.NewFront(sidecar.FrontOptions{Probe: healthProber(p.ways.dial), IntN: rand.IntN, Metrics: m, Log: p.log})
	p.ports = &ports{
		options: head.EngineOptions{
			Handler: handler(p.front), HealthPath: c.HealthPath, Health: p.front.Ready, Limits: frontLimits, UpstreamTimeout: c.UpstreamTimeout,
			TrustedProxies: c.TrustedProxies, Dial: p.ways.dial, OwnAnswer: func(token string) { m.OwnAnswers.WithLabelValues(token).Inc() }, Log: p.log,
		},
		failed: make(chan error, 2), open: map[string]*port{}, log: p.log,
		opened: func(o *port) {
			p.log.Info("listening", "address", o.listener.Addr().String(), "tls", o.spec.secure)
			fmt.Fprintf(e.stdout, "listening on %s\n", o.listener.Addr())
		},
	}
	p.departure = &departure{apply: p.leave, waiting: p.waits}
	if len(c.ControlPlane) == 0 {
		return p, nil
	}
	return p, p.follow(c)
}

func (p *frontProcess) leave(leave bool) {
	if leave {
		p.log.Info("draining")
	} else {
		p.log.Info("serving again")
	}
	p.ports.leave(leave)
}

// waits is what an end would cut short now.
func (p *frontProcess) waits() []string {
	if n := p.ports.exchanges(); n > 0 {
		return []string{fmt.Sprintf("%d requests under way", n)}
	}
	return nil
}

// open takes the addresses that are known at start. What it cannot open then is an error: somebody is there to read why.
func (p *frontProcess) open(out io.Writer) (err error) {
	c := p.watcher.Current()
	if p.follower == nil {
		if err := p.serveStatic(c); err != nil {
			return err
		}
	}
	if c.Admin == "" {
		return nil
	}
	token, err := c.AdminToken()
	if err != nil {
		return err
	}
	if p.admin, err = listen("admin", c.Admin); err != nil {
		return err
	}
	p.adminServer.Handler = admin.New(admin.Options{
		Listener: p.admin.Addr(), Hosts: c.AdminHosts, Token: token, Readiness: p, Status: p, Leaver: p.departure, Metrics: p.registry,
	})
	go serveOn(p.ports.failed, "admin", p.adminServer.Serve, p.admin)
	fmt.Fprintf(out, "admin on %s\n", p.admin.Addr())
	return nil
}

// start runs what goes on beside the requests until ctx ends.
func (p *frontProcess) start(ctx context.Context) *sync.WaitGroup {
	var background sync.WaitGroup
	background.Go(func() { governor.Run(ctx) })
	background.Go(func() { p.front.Run(ctx) })
	background.Go(func() { p.ports.run(ctx) })
	background.Go(func() { p.watcher.Run(ctx) })
	background.Go(func() { onHangup(ctx, p.watcher.Reload) })
	if p.follower != nil {
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

// reload takes what a running front can.
func (p *frontProcess) reload(change config.Change) {
	if len(change.Restart) > 0 {
		p.log.Warn("settings changed that need a restart", "keys", change.Restart)
	}
	p.level.Set(change.New.Log.Level)
	if p.follower == nil {
		if err := p.serveStatic(change.New); err != nil {
			p.log.Error("the port is not served as it was", "error", err)
		}
	}
	p.log.Info("configuration reloaded", present("keys", change.Applied)...)
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
		if err != nil {
			return false, unanswered(err)
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK, nil
	}
}

// unanswered tells apart who refuses, who answers another thing or hangs up, and who does not answer at all.
func unanswered(err error) error {
	var said net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return sidecar.ErrRefused
	case errors.As(err, &said) && said.Timeout(), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return err
	}
	return fmt.Errorf("%w: %w", sidecar.ErrDeclined, err)
}
