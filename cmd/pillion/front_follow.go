package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
	"github.com/pillion-proxy/pillion/xds"
)

// apply puts in force what a control plane says, as xds.FollowerOptions want it.
func (p *frontProcess) apply(c xds.FrontConfig) error {
	if p.watcher.Current().Listen != "" && len(c.Listeners) > 1 {
		return fmt.Errorf("listen takes the place of one listener, and the services file has %d", len(c.Listeners))
	}
	p.ways.set(c.Apps)
	p.front.SetSite(siteOf(c))
	certificates := map[string]*tls.Certificate{}
	var wanted []portSpec
	for _, l := range c.Listeners {
		spec := portSpec{l.Name, l.Address, l.Certificate != nil, l.Idle, l.HeaderTimeout, l.AccessLog}
		if at := p.watcher.Current().Listen; at != "" {
			spec.address = at
		}
		wanted, certificates[l.Name] = append(wanted, spec), l.Certificate
	}
	_ = p.ports.set(wanted, certificates) // a port that somebody else has is tried again, and /ready says so: the rest is in force
	return nil
}

// siteOf says the same in the front's words.
func siteOf(c xds.FrontConfig) sidecar.Site {
	s := sidecar.Site{NormalPaths: true}
	for _, h := range c.Hosts {
		host := sidecar.Host{Name: h.Name}
		for _, r := range h.Routes {
			host.Routes = append(host.Routes, sidecar.Route(r))
		}
		s.Hosts = append(s.Hosts, host)
	}
	for _, a := range c.Apps {
		app := sidecar.App{Name: a.Name, HealthPath: a.HealthPath, HealthTimeout: a.HealthTimeout}
		for _, b := range a.Backends {
			app.Backends = append(app.Backends, sidecar.Backend(b))
		}
		s.Apps = append(s.Apps, app)
	}
	return s
}

// way is how a sidecar is reached.
type way struct {
	timeout time.Duration
	secure  *tls.Config // nil for plain TCP
}

// set tells how the sidecars of these apps are reached.
func (w *ways) set(apps []xds.FrontApp) {
	all := map[string]way{}
	for _, app := range apps {
		for _, b := range app.Backends {
			all[b.Address] = way{app.ConnectTimeout, app.TLS}
		}
	}
	w.by.Store(&all)
}

// dial connects to a sidecar, with TLS where its app has it.
func (w *ways) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to := way{timeout: frontDial}
	if all := w.by.Load(); all != nil {
		if known, ok := (*all)[address]; ok && known.timeout > 0 {
			to = known
		}
	}
	ctx, cancel := context.WithTimeout(ctx, to.timeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil || to.secure == nil {
		return conn, err
	}
	secure := tls.Client(conn, to.secure)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// follow makes the follower of these settings.
func (p *frontProcess) follow(c *config.Config) (err error) {
	o := xds.FollowerOptions{Targets: c.ControlPlane, ID: c.ID, Apply: p.apply, Metrics: metrics.NewFollower(p.registry), Log: p.log}
	if c.ControlPlaneTLS.Given() {
		if o.TLS, err = c.ControlPlaneTLS.Client(); err != nil {
			return err
		}
	}
	if o.ID == "" {
		if o.ID, err = os.Hostname(); err != nil {
			return err
		}
	}
	p.follower, err = xds.NewFollower(o)
	return err
}
