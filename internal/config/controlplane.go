package config

import (
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// planeTable is the settings of `pillion control-plane`. What a sidecar has too is called the same.
var planeTable = newTable((*loader).checkPlane, section{"Control plane", []key{
	{"listen", "127.0.0.1:18000", "address for xDS; port 0 takes a free one", "",
		listen(func(c *Config) *string { return &c.Listen })},
	{"services", "", "file that says which apps are served where, and defines rings and listeners; read again when it changes", "/etc/pillion/services.yaml",
		text("file", func(c *Config) *string { return &c.Services }, `.+`, "the path of a file")},
	{"hold_off", "3s", "how long sidecars have to register before anything is published", "",
		duration(func(c *Config) *time.Duration { return &c.HoldOff })},
	{"insecure", "false", "allow xDS without TLS on an address that other machines reach", "",
		boolean(func(c *Config) *bool { return &c.Insecure })},
	{"tls.cert", "", "PEM certificate chain for xDS; needs the next two, because clients are identified by their certificates", "/etc/pillion/xds.pem",
		live(file(func(c *Config) *File { return &c.TLS.Cert }))},
	{"tls.key", "", "its private key", "/etc/pillion/xds.key",
		live(file(func(c *Config) *File { return &c.TLS.Key }))},
	{"tls.client_ca", "", "PEM file of the CAs that sign the certificates of sidecars and fronts", "/etc/pillion/clients.pem",
		live(file(func(c *Config) *File { return &c.TLS.ClientCA }))},
	{"admin", "127.0.0.1:9903", "address for operators: /registry, /fronts, /snapshot, /drain, probes, metrics", "",
		listen(func(c *Config) *string { return &c.Admin })},
	{"admin_hosts", "", "further host names that requests to the admin address may use", "pillion.internal",
		hostNames(func(c *Config) *[]string { return &c.AdminHosts })},
	{"admin_token_file", "", "file with the bearer token that other machines must send to the admin address", "/run/secrets/admin-token",
		file(func(c *Config) *File { return &c.AdminTokenFile })},
	{"log.level", "info", "debug, info, warn or error", "",
		live(level(func(c *Config) *slog.Level { return &c.Log.Level }))},
}})

// checkPlane applies the rules that concern several keys.
func (l *loader) checkPlane() {
	c := l.config
	given := 0
	keys := []string{"tls.cert", "tls.key", "tls.client_ca"}
	for _, name := range keys {
		if _, ok := c.settings[name]; ok {
			given++
		}
	}
	for _, name := range keys {
		if _, ok := c.settings[name]; !ok && given > 0 {
			l.missing(name)
		}
	}
	if given == len(keys) {
		_, err := c.TLS.Server()
		l.verify(err, keys...)
	}
	_, err := c.AdminToken()
	l.verify(err, "admin_token_file")
	l.rule(given == 0 && !c.Insecure && !onLoopback(c.Listen), "is plain TCP on an address that other machines reach, and whoever reaches it can become a backend: "+
		"give tls.cert, tls.key and tls.client_ca; or listen on 127.0.0.1; or say insecure when the network keeps strangers out", "listen", "insecure")
}

func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	at, bad := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || bad == nil && at.Unmap().IsLoopback())
}
