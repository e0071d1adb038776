package main

import (
	"log/slog"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/config"
)

// What a process logs when it starts: what should not stay so, and then in one line what it is, where it listens and whom it knows. Behind
// the first look at a log stands the question whether this is the process and the configuration that somebody meant.

func warn(log *slog.Logger, c *config.Config) {
	for _, text := range c.Warnings() {
		log.Warn("risky configuration", "warning", text)
	}
}

func (p *process) announce(c *config.Config) {
	warn(p.log, c)
	p.log.Info("serving", present(
		"version", version(), "app", c.App, "route", p.route, "mode", mode(c), "listen", p.data.Addr().String(), "tls", c.TLS.Cert.Path != "",
		"admin", p.admin.Addr().String(), "api", c.API.Listen, "upstream", c.Upstream.String(), "nodes", p.nodes(), "commit", string(c.Commit),
		"peers", peerTexts(c.Peers), "control_plane", c.ControlPlane, "config_hash", c.Hash())...)
}

func (p *frontProcess) announce(c *config.Config) {
	warn(p.log, c)
	admin := ""
	if p.admin != nil {
		admin = p.admin.Addr().String()
	}
	p.log.Info("serving", present("version", version(), "listen", p.ports.addresses(), "admin", admin, "backends", peerTexts(c.Backends),
		"control_plane", c.ControlPlane, "config_hash", c.Hash())...)
}

// present leaves out settings that are not set.
func present(pairs ...any) (kept []any) {
	for i := 0; i < len(pairs); i += 2 {
		switch value := pairs[i+1].(type) {
		case string:
			if value == "" {
				continue
			}
		case []string:
			if len(value) == 0 {
				continue
			}
		}
		kept = append(kept, pairs[i], pairs[i+1])
	}
	return kept
}

func (p *process) nodes() (all []string) {
	for _, n := range p.store.Nodes() {
		text := n.Name + "=" + n.Address
		if n.Local {
			text += " (local)"
		}
		all = append(all, text)
	}
	return all
}

func peerTexts(peers []config.Peer) (all []string) {
	for _, p := range peers {
		all = append(all, p.Route+"="+p.Address)
	}
	return all
}

// mode names how sessions are kept.
func mode(c *config.Config) string {
	if c.Sticky {
		return "sticky"
	}
	return "shared"
}

// ready tells for a metric what /ready answers.
func ready(p admin.Readiness) func() bool {
	return func() bool {
		blocked, _ := p.Ready()
		return len(blocked) == 0
	}
}
