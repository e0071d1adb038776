package config

import (
	"log/slog"
	"net/netip"
	"time"
)

// frontTable is the settings of `pillion front`. What a sidecar has too is called the same.
var frontTable = newTable((*loader).checkFront, section{"Front", []key{
	{"listen", "", "address for visitors, by default :8000; port 0 takes a free one. With a control plane it replaces the address of the only listener", ":443",
		listen(func(c *Config) *string { return &c.Listen })},
	{"control_plane", "", "addresses of all control planes; one at a time is followed, and says what to serve", "10.100.0.5:18000",
		addresses(func(c *Config) *[]string { return &c.ControlPlane })},
	{"control_plane_tls.ca", "", "PEM file of the CAs that sign the control planes' certificates; this or the next two turn TLS on", "/etc/pillion/xds-ca.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.CA })},
	{"control_plane_tls.cert", "", "PEM certificate to present to the control planes, for the name pillion-front", "/etc/pillion/front.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Cert })},
	{"control_plane_tls.key", "", "its private key", "/etc/pillion/front.key",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Key })},
	{"id", "", "name by which the control planes know this front, by default the host name", "front1",
		hostName(func(c *Config) *string { return &c.ID })},
	{"backends", "", "the app's sidecars, where there is no control plane: ROUTE=HOST:PORT, the data address of each", "a1=10.100.0.20:8080",
		live(peers(func(c *Config) *[]Peer { return &c.Backends }))},
	{"session.cookie", "__Host-psid", "name of the session cookie, the same as the sidecars'", "",
		live(cookieName(func(c *Config) *string { return &c.Session.Cookie }))},
	{"sticky", "true", "true: each visitor goes to the sidecar that holds the session; false: sessions are shared, and each request goes to the least loaded one", "",
		live(boolean(func(c *Config) *bool { return &c.Sticky }))},
	{"compress", "true", "compress uncompressed answers for clients that accept gzip or zstd", "",
		live(boolean(func(c *Config) *bool { return &c.Compress }))},
	{"tls.cert", "", "PEM certificate chain for visitors; turns TLS on", "/etc/pillion/tls.pem",
		live(file(func(c *Config) *File { return &c.TLS.Cert }))},
	{"tls.key", "", "its private key", "/etc/pillion/tls.key",
		live(file(func(c *Config) *File { return &c.TLS.Key }))},
	{"trusted_proxies", "", "networks whose X-Forwarded-* fields are believed; those from elsewhere are replaced", "10.0.0.0/8",
		networks(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies })},
	{"health_path", "/.well-known/pillion/ready", "path of this front's own health and, with backends, of the sidecars'", "",
		path(func(c *Config) *string { return &c.HealthPath })},
	{"upstream_timeout", "", "how long a sidecar may take to send its response head; by default 75s, which is more than a sidecar's upstream_timeout, and 5m with a control plane, whose routes have timeouts of their own", "75s",
		positive(func(c *Config) *time.Duration { return &c.UpstreamTimeout })},
	{"drain_linger", "200ms", "how long the port stays open once the health path answers 503", "",
		duration(func(c *Config) *time.Duration { return &c.DrainLinger })},
	{"admin", "127.0.0.1:9902", "address for operators: probes, status, /drain, metrics, profiles; off for none", "",
		listenOrOff(func(c *Config) *string { return &c.Admin })},
	{"admin_hosts", "", "further host names that requests to the admin address may use", "pillion.internal",
		hostNames(func(c *Config) *[]string { return &c.AdminHosts })},
	{"admin_token_file", "", "file with the bearer token that other machines must send to the admin address", "/run/secrets/admin-token",
		file(func(c *Config) *File { return &c.AdminTokenFile })},
	{"log.level", "info", "debug, info, warn or error", "",
		live(level(func(c *Config) *slog.Level { return &c.Log.Level }))},
}})

// saidByControlPlane are the settings that a control plane has for a front.
var saidByControlPlane = []string{"backends", "session.cookie", "sticky", "compress", "tls.cert", "tls.key"}

// How long a sidecar may take: with a static list more than it gives its app by default, with a control plane, whose routes have times of their
// own, as long as Envoy lets a stream be idle.
const (
	staticUpstream   = 75 * time.Second
	followedUpstream = 5 * time.Minute
)

// checkFront applies the rules that concern several keys, and fills in what depends on them.
func (l *loader) checkFront() {
	c := l.config
	follows := len(c.ControlPlane) > 0
	if !follows && len(c.Backends) == 0 && !l.bad["control_plane"] && !l.bad["backends"] {
		l.add(Mistake{Key: "control_plane", Text: "is missing: write --control-plane, PILLION_CONTROL_PLANE, or control_plane in the file; for example 10.100.0.5:18000. " +
			"Or name the sidecars themselves: --backends a1=10.100.0.20:8080"})
	}
	for _, name := range saidByControlPlane {
		s, given := c.settings[name]
		l.rule(follows && given && s.source != "default", "does not go with control_plane, which says it", name)
	}
	for _, name := range []string{"control_plane_tls.ca", "control_plane_tls.cert", "control_plane_tls.key", "id"} {
		_, given := c.settings[name]
		l.rule(given && !follows, "is used with control_plane only", name, "control_plane")
	}
	_, err := c.TLS.Server()
	l.verify(err, "tls.cert", "tls.key")
	_, err = c.ControlPlaneTLS.Client()
	l.verify(err, "control_plane_tls.cert", "control_plane_tls.key", "control_plane_tls.ca")
	_, err = c.AdminToken()
	l.verify(err, "admin_token_file")
	if c.Listen == "" && !follows {
		c.Listen = ":8000"
		l.computed("listen", c.Listen)
	}
	if c.UpstreamTimeout == 0 {
		if c.UpstreamTimeout = staticUpstream; follows {
			c.UpstreamTimeout = followedUpstream
		}
		l.computed("upstream_timeout", c.UpstreamTimeout.String())
	}
}
