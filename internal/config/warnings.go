package config

import (
	"net/netip"
	"slices"
)

// Warnings says what works and should not stay so. `config check` prints them, and a process logs them when it starts.
func (c *Config) Warnings() []string {
	var all []string
	warn := func(when bool, text string) {
		if when {
			all = append(all, text)
		}
	}
	warn(slices.ContainsFunc(c.TrustedProxies, func(p netip.Prefix) bool { return p.Bits() == 0 }),
		"trusted_proxies has a network of all addresses: every visitor can claim any address; name the networks of your own proxies")
	warn(c.Admin != "" && !onLoopback(c.Admin) && c.AdminTokenFile.Path == "",
		"admin can be reached from other machines and admin_token_file is not set: it will refuse everything but /health, /ready and /metrics")
	switch c.table {
	case sidecarTable:
		return append(all, c.sidecarWarnings()...)
	case planeTable:
		warn(c.Insecure && c.TLS.Cert.Path == "" && !onLoopback(c.Listen),
			"insecure is set: whoever reaches the xDS port can become a backend and read the private keys of the listeners; use tls.*")
	}
	return all
}

func (c *Config) sidecarWarnings() []string {
	var all []string
	for _, w := range []struct {
		when bool
		text string
	}{
		{len(c.Keys) == 0, "keys is not set: session ids can be forged, stored sessions can be read, and sidecars cannot hand sessions to each other; " +
			"'pillion config key FILE' makes a key"},
		{len(c.Ring.Nodes) == 1, "ring.nodes has one node: when it stops or restarts, what it held is lost"},
		{c.Sticky && len(c.Peers) == 0 && len(c.ControlPlane) == 0, "neither peers nor control_plane is set: if there are other sidecars of this app, " +
			"whatever stands before them must send each visitor back to the same one"},
		{c.Sticky && c.Copies == 1 && len(c.Ring.Nodes) > 1, "copies is 1: a session is lost when this sidecar and the session's node fail together"},
		{c.Commit == CommitAsync, "commit is async: visitors see answers whose changes are not stored yet; those are lost when this sidecar is killed"},
		{c.Session.InsecureCookie, "session.insecure_cookie is set: over plain HTTP, whoever can read the traffic can take over sessions"},
	} {
		if w.when {
			all = append(all, w.text)
		}
	}
	return all
}
