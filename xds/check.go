package xds

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

var (
	appName  = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	nodeName = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)
	hostName = regexp.MustCompile(`^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$`)
)

// mistakes collects what is wrong with a services file.
type mistakes []string

func (m *mistakes) add(when bool, format string, args ...any) {
	if when {
		*m = append(*m, fmt.Sprintf(format, args...))
	}
}

// check returns every mistake that the file has by itself.
func (s *Services) check() []string {
	var m mistakes
	m.add(len(s.Apps) == 0, "apps is empty: name at least one app")
	served := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Apps)) {
		app := s.Apps[name]
		m.add(!appName.MatchString(name), "apps.%s: a name is 1 to 32 of a-z, 0-9 and _", name)
		m.checkApp("apps."+name, app)
		for _, host := range app.Hosts {
			other, taken := served[host+" "+app.Prefix]
			m.add(taken, "apps.%s and apps.%s are both served on %s%s", other, name, host, app.Prefix)
			served[host+" "+app.Prefix] = name
		}
	}
	for _, space := range slices.Sorted(maps.Keys(s.Rings)) {
		m.checkRing("rings."+space, space, s.Rings[space])
	}
	m.checkListeners(s.Listeners)
	return m
}

func (m *mistakes) checkApp(at string, app App) {
	for _, host := range app.Hosts {
		m.add(!hostName.MatchString(host), "%s.hosts: %q is neither a lower-case host name without port, nor *.NAME, nor *", at, host)
	}
	m.add(!strings.HasPrefix(app.Prefix, "/") || strings.ContainsAny(app.Prefix, "?# "), "%s.prefix: %q is no path", at, app.Prefix)
	m.add(app.Prefix != "/" && strings.HasSuffix(app.Prefix, "/"), "%s.prefix: write %q, without the last /", at, strings.TrimRight(app.Prefix, "/"))
	m.add(app.Space != "" && !appName.MatchString(app.Space), "%s.space: 1 to 32 of a-z, 0-9 and _", at)
	m.add(app.Retries != nil && (*app.Retries < 0 || *app.Retries > 10), "%s.retries: write 0 to 10", at)
	if t := app.UpstreamTLS; t != nil {
		m.add(t.Name == "", "%s.upstream_tls.name is missing: the name in the sidecars' certificate", at)
		m.add(t.ca != nil && !x509.NewCertPool().AppendCertsFromPEM(t.ca), "%s.upstream_tls.ca: %s holds no PEM certificate", at, t.CA)
	}
}

func (m *mistakes) checkRing(at, space string, nodes []RingNode) {
	m.add(!appName.MatchString(space), "%s: a space is 1 to 32 of a-z, 0-9 and _", at)
	names, addresses, active := map[string]bool{}, map[string]string{}, 0
	for _, n := range nodes {
		m.add(!nodeName.MatchString(n.Name), "%s: %q is no node name: 1 to 16 of a-z, 0-9 and _", at, n.Name)
		m.add(names[n.Name], "%s: %s is given twice", at, n.Name)
		m.add(addresses[n.Address] != "", "%s: %s and %s have the same address", at, addresses[n.Address], n.Name)
		names[n.Name], addresses[n.Address] = true, n.Name
		if !strings.HasPrefix(n.Address, "unix:/") {
			_, port, err := net.SplitHostPort(strings.TrimPrefix(n.Address, "tls:"))
			m.add(err != nil || port == "0" || port == "", "%s: %s: %q is not HOST:PORT", at, n.Name, n.Address)
		}
		switch n.State {
		case "active":
			active++
		case "draining", "removed":
		default:
			m.add(true, "%s: %s: state %q is none of active, draining, removed", at, n.Name, n.State)
		}
	}
	m.add(active == 0, "%s has no active node: leave it out and sidecars keep the nodes of their own settings", at)
}

func (m *mistakes) checkListeners(all []Listener) {
	ports := map[string]bool{}
	for i, l := range all {
		at := fmt.Sprintf("listeners[%d]", i)
		_, err := netip.ParseAddr(l.Address)
		m.add(err != nil, "%s.address: %q is no IP address", at, l.Address)
		m.add(l.Port == 0 || l.Port > 65535, "%s.port: write 1 to 65535", at)
		where := fmt.Sprintf("%s:%d", l.Address, l.Port)
		m.add(ports[where], "%s: %s is given twice", at, where)
		ports[where] = true
		if l.TLS != nil && l.TLS.cert != nil && l.TLS.key != nil {
			_, err := tls.X509KeyPair(l.TLS.cert, l.TLS.key)
			m.add(err != nil, "%s.tls: %s and %s are not a certificate and its key: %v", at, l.TLS.Cert, l.TLS.Key, err)
		}
	}
}

// conflicts returns why these sidecars cannot be served together. It judges newcomers before they are taken, and a new services file before
// it is.
func (s *Services) conflicts(all []member) error {
	var m mistakes
	hosts := map[string]member{} // host and cookie -> the first that has them
	apps := map[string]string{}
	for _, sidecar := range all {
		if !sidecar.Lost.IsZero() {
			continue // it does not stand in the way of those that are here
		}
		apps[sidecar.App] = sidecar.Space
		app, listed := s.Apps[sidecar.App]
		if !s.given {
			app.Hosts = []string{"*"}
		} else if !listed {
			continue // registered and not served
		}
		m.add(app.Space != "" && app.Space != sidecar.Space, "app %s is of space %s, and route %s has space %s", sidecar.App, app.Space, sidecar.Route, sidecar.Space)
		for _, host := range app.Hosts {
			other, taken := hosts[host+" "+sidecar.Cookie]
			m.add(taken && other.Space != sidecar.Space, "host %s would get cookie %s from space %s (app %s) and from space %s (app %s): name one of them otherwise",
				host, sidecar.Cookie, other.Space, other.App, sidecar.Space, sidecar.App)
			if !taken {
				hosts[host+" "+sidecar.Cookie] = sidecar
			}
		}
	}
	if !s.given && len(apps) > 1 {
		m = mistakes{fmt.Sprintf("apps %s register, and without a services file only one can be served: write one (--services)", strings.Join(slices.Sorted(maps.Keys(apps)), " and "))}
	}
	if len(m) == 0 {
		return nil
	}
	slices.Sort(m)
	return fmt.Errorf("%s", strings.Join(slices.Compact(m), "; "))
}
