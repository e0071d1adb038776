package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds"
)

func newControlPlaneCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "control-plane",
		Short: "Run the xDS server that sidecars register with and fronts follow",
		Long: "Sidecars started with --control-plane register with it over a stream that they hold open. From who is there it makes the listeners,\n" +
			"routes, clusters and endpoints of its fronts, Envoy or 'pillion front'. Run two for availability: they share nothing, and sidecars\n" +
			"register with both.",
		Example: "  pillion control-plane --listen 127.0.0.1:18000\n  pillion control-plane --config /etc/pillion/control-plane.yaml\n" +
			"  pillion control-plane --listen :18000 --services /etc/pillion/services.yaml --tls-cert cp.pem --tls-key cp.key --tls-client-ca ca.pem",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.LoadControlPlane(args, e.environ)
			if err != nil {
				return err
			}
			return runControlPlane(cmd.Context(), c, args, e)
		},
	}
	return takesFlags(cmd, config.ControlPlaneFlags())
}

// planeProcess is a running control plane.
type planeProcess struct {
	log     *slog.Logger
	level   *slog.LevelVar
	plane   *xds.ControlPlane
	watcher *config.Watcher
	leave   *departure
}

// runControlPlane serves until ctx ends, then sends its fronts away and ends.
func runControlPlane(ctx context.Context, c *config.Config, args []string, e env) error {
	p := &planeProcess{level: new(slog.LevelVar)}
	p.level.Set(c.Log.Level)
	p.log = slog.New(slog.NewJSONHandler(e.stderr, &slog.HandlerOptions{Level: p.level}))
	p.watcher = config.NewWatcher(c, args, e.environ, p.reload, func(err error) {
		p.log.Error("the new configuration is wrong; the old one stays", "error", err)
	})
	registry := prometheus.NewRegistry()
	metrics.NewProcess(registry, version(), ready(p))
	l, err := listen("listen", c.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	operators, err := listen("admin", c.Admin)
	if err != nil {
		return err
	}
	defer operators.Close()
	if err := p.open(l, c, registry); err != nil {
		return err
	}
	defer p.plane.Stop()
	page, err := p.page(c, operators, registry)
	if err != nil {
		return err
	}
	defer func() { _ = page.Close() }()
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { p.watcher.Run(work) })
	background.Go(func() { onHangup(work, p.watcher.Reload) })
	defer background.Wait()
	defer stop()
	failed := make(chan error, 2)
	go func() { failed <- p.plane.Serve() }()
	go func() { failed <- page.Serve(operators) }()
	warn(p.log, c)
	p.log.Info("serving", present("version", version(), "listen", l.Addr().String(), "tls", c.TLS.Cert.Path != "", "admin", operators.Addr().String(),
		"services", c.Services, "hold_off", c.HoldOff.String(), "config_hash", c.Hash())...)
	fmt.Fprintf(e.stdout, "listening on %s\nadmin on %s\n", l.Addr(), operators.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	p.leave.end()
	for deadline := time.Now().Add(planeLeaves); p.plane.Fronting() > 0 && time.Now().Before(deadline); {
		time.Sleep(drainLook / 10)
	}
	p.log.Info("stopped")
	return nil
}

// planeLeaves bounds how long an ending control plane waits for its fronts to go.
const planeLeaves = 2 * time.Second

// open makes the control plane.
func (p *planeProcess) open(l net.Listener, c *config.Config, registry *prometheus.Registry) (err error) {
	secure, err := clientTLS(p.watcher.Current)
	if err != nil {
		return err
	}
	if secure != nil {
		secure.NextProtos = []string{"h2"}
	}
	p.plane, err = xds.New(l, xds.Options{
		Services: c.Services, HoldOff: c.HoldOff, TLS: secure, Insecure: c.Insecure, Metrics: metrics.NewControlPlane(registry), Log: p.log,
	})
	p.leave = &departure{apply: p.depart, waiting: p.waits}
	return err
}

// page is the admin listener.
func (p *planeProcess) page(c *config.Config, l net.Listener, registry *prometheus.Registry) (*http.Server, error) {
	token, err := c.AdminToken()
	return &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: admin.New(admin.Options{
		Listener: l.Addr(), Hosts: c.AdminHosts, Token: token, Readiness: p, Leaver: p.leave, Metrics: registry,
		Pages: map[string]func() any{"/registry": p.plane.Registry, "/fronts": p.plane.Fronts, "/snapshot": p.plane.Snapshot},
	})}, err
}

// reload takes what a running control plane can: certificates, which are looked up at each handshake, and the log's level.
func (p *planeProcess) reload(change config.Change) {
	if len(change.Restart) > 0 {
		p.log.Warn("settings changed that need a restart", "keys", change.Restart)
	}
	p.level.Set(change.New.Log.Level)
	p.log.Info("configuration reloaded", present("keys", change.Applied)...)
}

func (p *planeProcess) depart(leave bool) {
	if leave {
		p.log.Info("draining")
		p.plane.Leave()
		return
	}
	p.log.Info("serving again")
	p.plane.Stay()
}

// waits is what an end would cut short now.
func (p *planeProcess) waits() []string {
	if n := p.plane.Fronting(); n > 0 {
		return []string{fmt.Sprintf("%d fronts to go to another control plane", n)}
	}
	return nil
}

// Ready: before the hold-off is over a new front would get nothing, and one that leaves takes none.
func (p *planeProcess) Ready() (blocked, degraded []string) {
	select {
	case <-p.plane.Ready():
	default:
		blocked = append(blocked, "sidecars are given time to register")
	}
	if p.leave.leaving.Load() {
		blocked = append(blocked, "draining")
	}
	return blocked, nil
}
