package config

import (
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"time"
)

// section is a chapter of the reference.
type section struct {
	title string
	keys  []key
}

// table is the settings of one kind of process. Its order is that of the help, of print and of docs/configuration.md.
type table struct {
	sections []section
	keys     []key // all of them
	check    func(*loader)
}

func newTable(check func(*loader), sections ...section) *table {
	t := &table{sections: sections, check: check}
	for _, s := range sections {
		t.keys = append(t.keys, s.keys...)
	}
	return t
}

// named returns the row of a key that exists.
func (t *table) named(name string) key {
	return t.keys[slices.IndexFunc(t.keys, func(k key) bool { return k.name == name })]
}

func (t *table) has(name string) bool {
	return slices.ContainsFunc(t.keys, func(k key) bool { return k.name == name })
}

var sidecarTable = newTable((*loader).checkSidecar, []section{
	{"App and listeners", appKeys},
	{"Ring", ringKeys},
	{"Session and cookie", sessionKeys},
	{"Commits and locks", commitKeys},
	{"Control plane", controlPlaneKeys},
	{"Keys and trust", trustKeys},
	{"Limits, memory, log", limitKeys},
}...)

var appKeys = []key{
	{"app", "", "name of the app; the sidecars of one app form a cluster", "shop",
		name(func(c *Config) *string { return &c.App })},
	{"space", "", "namespace of ids and stored sessions, by default the app's name; apps of one space share sessions, which needs sticky: false", "shop",
		name(func(c *Config) *string { return &c.Space })},
	{"listen", ":8080", "address for visitors; port 0 takes a free one", "",
		listen(func(c *Config) *string { return &c.Listen })},
	{"upstream", "", "the app: http://HOST:PORT or unix:/PATH", "http://127.0.0.1:3000",
		upstream(func(c *Config) *Upstream { return &c.Upstream })},
	{"upstream_check", "tcp", "whether the app takes requests, asked once a second; while it does not, visitors are sent elsewhere: tcp (it accepts connections), a path (it answers GET below 400), off", "/health",
		appCheck(func(c *Config) *AppCheck { return &c.UpstreamCheck })},
	{"upstream_timeout", "60s", "how long the app may take until its response head", "",
		positive(func(c *Config) *time.Duration { return &c.UpstreamTimeout })},
	{"admin", "127.0.0.1:9901", "address for operators: probes, metrics, status, profiles", "",
		listen(func(c *Config) *string { return &c.Admin })},
	{"admin_hosts", "", "names besides its own that a request to the admin address may carry in Host", "pillion.internal",
		hostNames(func(c *Config) *[]string { return &c.AdminHosts })},
	{"admin_token_file", "", "file with the bearer token that other machines must send to the admin address", "/run/secrets/admin-token",
		file(func(c *Config) *File { return &c.AdminTokenFile })},
	{"health_path", "/.well-known/pillion/ready", "path on the data port that answers 200 or 503 to load balancers", "",
		path(func(c *Config) *string { return &c.HealthPath })},
	{"route", "", "name of this sidecar, the last part of its session ids; by default the first label of the host name, and the port", "web1-8080",
		route(func(c *Config) *string { return &c.Route })},
	{"host", "", "name of this machine, by default what the system calls it", "web1",
		hostName(func(c *Config) *string { return &c.Host })},
	{"sticky", "true", "true: a session lives in one sidecar and the ring is its backup; false: the ring is the truth (msm's sticky)", "",
		boolean(func(c *Config) *bool { return &c.Sticky })},
	{"drain_linger", "200ms", "how long the port stays open after the health path began to answer 503", "",
		duration(func(c *Config) *time.Duration { return &c.DrainLinger })},
}

var ringKeys = []key{
	{"ring.nodes", "", "the memcached nodes: NAME=HOST:PORT, NAME=tls:HOST:PORT or NAME=unix:/PATH, with ;host=MACHINE to say where one runs (msm's memcachedNodes)", "n1=10.100.0.20:11211",
		live(nodes(func(c *Config) *[]Node { return &c.Ring.Nodes }))},
	{"ring.local_nodes", "auto", "nodes on this machine, which hold sessions only while no other node is up (msm's failoverNodes): names, none, or auto", "n1",
		live(locals(func(c *Config) *Locals { return &c.Ring.LocalNodes }))},
	{"ring.op_timeout", "100ms", "how long one node may take for one operation", "",
		positive(func(c *Config) *time.Duration { return &c.Ring.OpTimeout })},
	{"ring.unknown", "503", "answer while the ring can neither give nor deny a session: 503, or anonymous to serve without one", "",
		choice(func(c *Config) *Unknown { return &c.Ring.Unknown }, Unknown503, UnknownAnonymous)},
	{"ring.unknown_for", "60s", "how long after its node went down a session counts as unknown; then the visitor is anonymous", "",
		duration(func(c *Config) *time.Duration { return &c.Ring.UnknownFor })},
	{"ring.isolated", "serve", "sticky mode while no node takes a session: serve from memory, or refuse with 503", "",
		choice(func(c *Config) *Isolated { return &c.Ring.Isolated }, IsolatedServe, IsolatedRefuse)},
	{"ring.auth_file", "", "file with USER:PASSWORD for nodes started with memcached -Y", "/run/secrets/memcached",
		file(func(c *Config) *File { return &c.Ring.AuthFile })},
	{"ring.tls.ca", "", "PEM certificates that sign the nodes', by default those the system trusts", "/etc/pillion/ring-ca.pem",
		file(func(c *Config) *File { return &c.Ring.TLS.CA })},
	{"ring.tls.cert", "", "PEM certificate shown to the nodes", "/etc/pillion/ring.pem",
		file(func(c *Config) *File { return &c.Ring.TLS.Cert })},
	{"ring.tls.key", "", "its private key", "/etc/pillion/ring.key",
		file(func(c *Config) *File { return &c.Ring.TLS.Key })},
}

var sessionKeys = []key{
	{"session.cookie", "", "name of the cookie; __Host-psid, or psid with session.insecure_cookie", "__Host-sid",
		cookieName(func(c *Config) *string { return &c.Session.Cookie })},
	{"session.insecure_cookie", "false", "leave Secure away, for sites on plain HTTP", "",
		boolean(func(c *Config) *bool { return &c.Session.InsecureCookie })},
	{"session.same_site", "Lax", "SameSite of the cookie: Lax, Strict or None", "",
		choice(func(c *Config) *SameSite { return &c.Session.SameSite }, SameSiteLax, SameSiteStrict, SameSiteNone)},
	{"session.partitioned", "false", "Partitioned: one cookie for each site that embeds this one", "",
		boolean(func(c *Config) *bool { return &c.Session.Partitioned })},
	{"session.max_age", "0s", "Max-Age of the cookie, at most 9600h (400 days); 0s ends it with the browser", "",
		duration(func(c *Config) *time.Duration { return &c.Session.MaxAge })},
	{"session.idle", "30m", "a session ends when it was not used for so long", "",
		positive(func(c *Config) *time.Duration { return &c.Session.Idle })},
	{"session.lifetime", "24h", "a session ends so long after it began or was renewed", "",
		positive(func(c *Config) *time.Duration { return &c.Session.Lifetime })},
	{"session.renew_grace", "10s", "how long the old id of a renewed session still reads it", "",
		duration(func(c *Config) *time.Duration { return &c.Session.RenewGrace })},
	{"session.per_subject", "0", "sessions that one subject may have; the oldest end when there are more. 0: any number", "5",
		between(func(c *Config) *int { return &c.Session.PerSubject }, 0, 256)},
	{"session.revocation_check", "2s", "how long a sidecar may go on serving a subject's sessions after all of them were ended", "",
		positive(func(c *Config) *time.Duration { return &c.Session.Revocation })},
	{"session.max_size", "64KiB", "bytes of one session; memcached keeps at most 1 MiB unless started with -I", "",
		size(func(c *Config) *int { return &c.Session.MaxSize })},
	{"session.inline_max", "4KiB", "bytes of the Pillion-Session header; the app reads larger sessions from the loopback API", "",
		size(func(c *Config) *int { return &c.Session.InlineMax })},
	{"session.max_patch", "64KiB", "bytes of one Pillion-Patch or Pillion-Replace header", "",
		size(func(c *Config) *int { return &c.Session.MaxPatch })},
	{"session.ignore", "", "regexes of paths that get no session (msm's requestUriIgnorePattern); one for each flag or line", `\.(ico|png|gif|jpg|css|js)$`,
		live(regexes(func(c *Config) *[]*regexp.Regexp { return &c.Session.Ignore }))},
}

var commitKeys = []key{
	{"commit", "before_reply", "what an answer waits for: before_reply (a node acknowledged), all (each copy), async (nothing; msm's sessionBackupAsync)", "",
		choice(func(c *Config) *Commit { return &c.Commit }, CommitBeforeReply, CommitAll, CommitAsync)},
	{"commit_timeout", "250ms", "how long an answer waits for the ring", "",
		positive(func(c *Config) *time.Duration { return &c.CommitTimeout })},
	{"copies", "2", "nodes that hold a sticky session; 1 is msm's way. Shared mode always keeps 2", "",
		between(func(c *Config) *int { return &c.Copies }, 1, 2)},
	{"lock", "none", "which requests of one session wait for each other: none, all, auto (all but those that proved read-only), paths (msm's lockingMode)", "",
		choice(func(c *Config) *Lock { return &c.Lock }, LockNone, LockAll, LockAuto, LockPaths)},
	{"lock_paths", "", "regexes of the paths that lock: paths means; one for each flag or line", "^/cart/",
		regexes(func(c *Config) *[]*regexp.Regexp { return &c.LockPaths })},
	{"lock_wait", "1s", "how long a request waits for one holder of its session's lock until it is a 503; in a queue that moves, up to ten times as long", "",
		positive(func(c *Config) *time.Duration { return &c.LockWait })},
	{"strict", "true", "true: a wrong instruction of the app is a 502; false: it is ignored and counted", "",
		boolean(func(c *Config) *bool { return &c.Strict })},
	{"compression", "auto", "how new blobs are compressed: auto, none, snappy or zstd; all are read", "",
		choice(func(c *Config) *Compression { return &c.Compression }, CompressionAuto, CompressionNone, CompressionSnappy, CompressionZstd)},
}

var controlPlaneKeys = []key{
	{"control_plane", "", "addresses of the control planes, all of them: this sidecar registers with each, and takes its peers and, where they have one, its ring from them", "10.100.0.5:18000",
		addresses(func(c *Config) *[]string { return &c.ControlPlane })},
	{"control_plane_tls.ca", "", "PEM certificates that sign the control planes'; with it or the next two they are spoken to over TLS", "/etc/pillion/xds-ca.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.CA })},
	{"control_plane_tls.cert", "", "PEM certificate shown to the control planes, with the name ROUTE.APP or *.APP", "/etc/pillion/xds.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Cert })},
	{"control_plane_tls.key", "", "its private key", "/etc/pillion/xds.key",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Key })},
	{"advertise", "", "IP:PORT where fronts and other sidecars reach this one; by default the local address of the connection to the control plane, and the data port", "10.100.0.20:8080",
		endpoint(func(c *Config) *string { return &c.Advertise })},
}

var trustKeys = []key{
	{"keys", "", "key files that seal ids and sessions: id=NUMBER,file=PATH,use=seal or open. One seals, all open; pillion config key makes one", "id=1,file=/etc/pillion/1.key,use=seal",
		live(sealKeys(func(c *Config) *[]Key { return &c.Keys }))},
	{"peers", "", "the app's other sidecars, so that they can ask each other who has a session: ROUTE=HOST:PORT, the data address; needs keys", "a2=10.100.0.21:8080",
		live(peers(func(c *Config) *[]Peer { return &c.Peers }))},
	{"app_auth.keys", "", "key files, shared with the app, that sign Pillion-Auth; the first signs", "/etc/pillion/app.key",
		files(func(c *Config) *[]File { return &c.AppAuth.Keys })},
	{"api.listen", "", "loopback address or unix:/PATH where the app reads sessions above session.inline_max; off by default", "127.0.0.1:9902",
		loopbackOnly(func(c *Config) *string { return &c.API.Listen })},
	{"tls.cert", "", "PEM certificate chain for visitors; with it the data port speaks TLS", "/etc/pillion/tls.pem",
		live(file(func(c *Config) *File { return &c.TLS.Cert }))},
	{"tls.key", "", "its private key", "/etc/pillion/tls.key",
		live(file(func(c *Config) *File { return &c.TLS.Key }))},
	{"tls.client_ca", "", "PEM certificates; visitors must show one signed by them", "/etc/pillion/clients.pem",
		live(file(func(c *Config) *File { return &c.TLS.ClientCA }))},
	{"trusted_proxies", "", "networks whose X-Forwarded-* fields are kept; those of others are replaced", "10.0.0.0/8",
		networks(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies })},
	{"proxy_protocol", "false", "each connection must begin with a header of the PROXY protocol, version 1 or 2, that says who the visitor is", "",
		boolean(func(c *Config) *bool { return &c.ProxyProtocol })},
}

var limitKeys = []key{
	{"limits.header_bytes", "64KiB", "bytes of a request's head", "",
		live(size(func(c *Config) *int { return &c.Limits.HeaderBytes }))},
	{"limits.header_count", "100", "fields of a request's head", "",
		live(between(func(c *Config) *int { return &c.Limits.HeaderCount }, 1, 10000))},
	{"limits.connections", "10000", "connections of visitors at a time; 0 for no limit", "",
		live(between(func(c *Config) *int { return &c.Limits.Connections }, 0, 1<<24))},
	{"limits.idle", "75s", "how long a connection may wait for its next request", "",
		live(positive(func(c *Config) *time.Duration { return &c.Limits.Idle }))},
	{"limits.header_timeout", "10s", "how long a visitor may take to send a request's head", "",
		live(positive(func(c *Config) *time.Duration { return &c.Limits.HeaderTimeout }))},
	{"limits.creations", "0", "sessions that one client, an IPv4 address or an IPv6 /64, may begin in a minute: more is a 429; 0 for no limit. Behind a front, set trusted_proxies", "600",
		live(between(func(c *Config) *int { return &c.Creations }, 0, 1<<24))},
	{"memory_limit", "25%", "memory for sticky sessions: a size, or a part of the machine's", "512MiB",
		memory(func(c *Config) *Memory { return &c.MemoryLimit })},
	{"header_cache", "64MiB", "memory for the header values of sessions in use and, a quarter of it or in shared mode half, for their opened copies", "",
		size(func(c *Config) *int { return &c.HeaderCache })},
	{"log.level", "info", "debug, info, warn or error", "",
		live(level(func(c *Config) *slog.Level { return &c.Log.Level }))},
	{"log.access", "false", "log each request, with the session's public ref and never its id", "",
		boolean(func(c *Config) *bool { return &c.Log.Access })},
}
