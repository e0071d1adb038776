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
	{"space", "", "namespace of ids and stored sessions, by default the app's name; apps with the same space share sessions, which needs sticky: false", "shop",
		name(func(c *Config) *string { return &c.Space })},
	{"listen", ":8080", "address for visitors; port 0 takes a free one", "",
		listen(func(c *Config) *string { return &c.Listen })},
	{"upstream", "", "the app: http://HOST:PORT or unix:/PATH", "http://127.0.0.1:3000",
		upstream(func(c *Config) *Upstream { return &c.Upstream })},
	{"upstream_check", "tcp", "how to tell, once a second, whether the app takes requests: tcp (it accepts connections), a path (a GET answers below 400), or off; while it does not, visitors are sent elsewhere", "/health",
		appCheck(func(c *Config) *AppCheck { return &c.UpstreamCheck })},
	{"upstream_timeout", "60s", "how long the app may take to send its response head", "",
		positive(func(c *Config) *time.Duration { return &c.UpstreamTimeout })},
	{"admin", "127.0.0.1:9901", "address for operators: probes, metrics, status, profiles", "",
		listen(func(c *Config) *string { return &c.Admin })},
	{"admin_hosts", "", "further host names that requests to the admin address may use", "pillion.internal",
		hostNames(func(c *Config) *[]string { return &c.AdminHosts })},
	{"admin_token_file", "", "file with the bearer token that other machines must send to the admin address", "/run/secrets/admin-token",
		file(func(c *Config) *File { return &c.AdminTokenFile })},
	{"health_path", "/.well-known/pillion/ready", "path on the data port that answers 200 or 503 to load balancers", "",
		path(func(c *Config) *string { return &c.HealthPath })},
	{"route", "", "name of this sidecar, the last part of its session ids; by default the first label of the host name and the port", "web1-8080",
		route(func(c *Config) *string { return &c.Route })},
	{"host", "", "name of this machine, by default the system's host name", "web1",
		hostName(func(c *Config) *string { return &c.Host })},
	{"sticky", "true", "true: a session lives in one sidecar and the ring is its backup; false: the ring is the truth (msm's sticky)", "",
		boolean(func(c *Config) *bool { return &c.Sticky })},
	{"drain_linger", "200ms", "how long the port stays open once the health path answers 503", "",
		duration(func(c *Config) *time.Duration { return &c.DrainLinger })},
}

var ringKeys = []key{
	{"ring.nodes", "", "the memcached nodes: NAME=HOST:PORT, NAME=tls:HOST:PORT or NAME=unix:/PATH; append ;host=MACHINE to say where a node runs (msm's memcachedNodes)", "n1=10.100.0.20:11211",
		live(nodes(func(c *Config) *[]Node { return &c.Ring.Nodes }))},
	{"ring.local_nodes", "auto", "nodes on this machine, which hold sessions only while no other node is up (msm's failoverNodes): names, none, or auto", "n1",
		live(locals(func(c *Config) *Locals { return &c.Ring.LocalNodes }))},
	{"ring.op_timeout", "100ms", "how long one operation on one node may take", "",
		positive(func(c *Config) *time.Duration { return &c.Ring.OpTimeout })},
	{"ring.unknown", "503", "what to do while the ring can neither find a session nor rule it out: answer 503, or serve the visitor as anonymous", "",
		choice(func(c *Config) *Unknown { return &c.Ring.Unknown }, Unknown503, UnknownAnonymous)},
	{"ring.unknown_for", "60s", "how long after its node went down a session counts as unknown; after that the visitor is anonymous", "",
		duration(func(c *Config) *time.Duration { return &c.Ring.UnknownFor })},
	{"ring.isolated", "serve", "what sticky mode does while no node accepts a session: serve from memory, or refuse with a 503", "",
		choice(func(c *Config) *Isolated { return &c.Ring.Isolated }, IsolatedServe, IsolatedRefuse)},
	{"ring.auth_file", "", "file with USER:PASSWORD for nodes started with memcached -Y", "/run/secrets/memcached",
		file(func(c *Config) *File { return &c.Ring.AuthFile })},
	{"ring.tls.ca", "", "PEM file of the CAs that sign the nodes' certificates; by default the system's", "/etc/pillion/ring-ca.pem",
		file(func(c *Config) *File { return &c.Ring.TLS.CA })},
	{"ring.tls.cert", "", "PEM certificate to present to the nodes", "/etc/pillion/ring.pem",
		file(func(c *Config) *File { return &c.Ring.TLS.Cert })},
	{"ring.tls.key", "", "its private key", "/etc/pillion/ring.key",
		file(func(c *Config) *File { return &c.Ring.TLS.Key })},
}

var sessionKeys = []key{
	{"session.cookie", "", "name of the cookie; __Host-psid, or psid with session.insecure_cookie", "__Host-sid",
		cookieName(func(c *Config) *string { return &c.Session.Cookie })},
	{"session.insecure_cookie", "false", "send the cookie without Secure, for sites on plain HTTP", "",
		boolean(func(c *Config) *bool { return &c.Session.InsecureCookie })},
	{"session.same_site", "Lax", "the cookie's SameSite: Lax, Strict or None", "",
		choice(func(c *Config) *SameSite { return &c.Session.SameSite }, SameSiteLax, SameSiteStrict, SameSiteNone)},
	{"session.partitioned", "false", "make the cookie Partitioned: one for each site that embeds this one", "",
		boolean(func(c *Config) *bool { return &c.Session.Partitioned })},
	{"session.max_age", "0s", "the cookie's Max-Age, at most 9600h (400 days); 0s: until the browser closes", "",
		seconds(func(c *Config) *time.Duration { return &c.Session.MaxAge }, 0)},
	{"session.idle", "30m", "a session ends after this long without a request", "",
		seconds(func(c *Config) *time.Duration { return &c.Session.Idle }, time.Second)},
	{"session.lifetime", "24h", "a session ends this long after it began or was renewed", "",
		seconds(func(c *Config) *time.Duration { return &c.Session.Lifetime }, time.Second)},
	{"session.renew_grace", "10s", "how long the old id of a renewed session can still read it", "",
		duration(func(c *Config) *time.Duration { return &c.Session.RenewGrace })},
	{"session.per_subject", "0", "how many sessions one subject may have; with more, the oldest end. 0: any number", "5",
		between(func(c *Config) *int { return &c.Session.PerSubject }, 0, 256)},
	{"session.revocation_check", "2s", "how long a sidecar may go on serving a subject's sessions after they were all ended", "",
		positive(func(c *Config) *time.Duration { return &c.Session.Revocation })},
	{"session.max_size", "64KiB", "largest session; memcached stores at most 1 MiB unless started with -I", "",
		size(func(c *Config) *int { return &c.Session.MaxSize })},
	{"session.inline_max", "4KiB", "largest Pillion-Session header; the app reads larger sessions from the loopback API", "",
		size(func(c *Config) *int { return &c.Session.InlineMax })},
	{"session.max_patch", "64KiB", "largest Pillion-Patch or Pillion-Replace header", "",
		size(func(c *Config) *int { return &c.Session.MaxPatch })},
	{"session.ignore", "", "regexes of paths that get no session, one per flag or line (msm's requestUriIgnorePattern)", `\.(ico|png|gif|jpg|css|js)$`,
		live(regexes(func(c *Config) *[]*regexp.Regexp { return &c.Session.Ignore }))},
}

var commitKeys = []key{
	{"commit", "before_reply", "what an answer waits for: before_reply (one node has the change), all (every copy is written), async (nothing; msm's sessionBackupAsync)", "",
		choice(func(c *Config) *Commit { return &c.Commit }, CommitBeforeReply, CommitAll, CommitAsync)},
	{"commit_timeout", "250ms", "how long an answer waits for the ring", "",
		positive(func(c *Config) *time.Duration { return &c.CommitTimeout })},
	{"copies", "2", "how many nodes hold a sticky session; msm keeps 1. Shared mode always keeps 2", "",
		between(func(c *Config) *int { return &c.Copies }, 1, 2)},
	{"lock", "none", "which requests of one session wait for each other: none, all, auto (all but those that have proved read-only), paths (msm's lockingMode)", "",
		choice(func(c *Config) *Lock { return &c.Lock }, LockNone, LockAll, LockAuto, LockPaths)},
	{"lock_paths", "", "regexes of the paths that lock: paths applies to, one per flag or line", "^/cart/",
		regexes(func(c *Config) *[]*regexp.Regexp { return &c.LockPaths })},
	{"lock_wait", "1s", "how long a request waits for one holder of its session's lock before it gets a 503; in a queue that moves, up to ten times as long", "",
		positive(func(c *Config) *time.Duration { return &c.LockWait })},
	{"strict", "true", "true: a wrong instruction from the app becomes a 502; false: it is ignored and counted", "",
		boolean(func(c *Config) *bool { return &c.Strict })},
	{"compression", "auto", "how new blobs are compressed: auto, none, snappy or zstd; all of them can be read", "",
		choice(func(c *Config) *Compression { return &c.Compression }, CompressionAuto, CompressionNone, CompressionSnappy, CompressionZstd)},
}

var controlPlaneKeys = []key{
	{"control_plane", "", "addresses of all control planes: this sidecar registers with each, and takes its peers from them, and its ring if they define one", "10.100.0.5:18000",
		addresses(func(c *Config) *[]string { return &c.ControlPlane })},
	{"control_plane_tls.ca", "", "PEM file of the CAs that sign the control planes' certificates; this or the next two turn TLS on", "/etc/pillion/xds-ca.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.CA })},
	{"control_plane_tls.cert", "", "PEM certificate to present to the control planes, for the name ROUTE.APP or *.APP", "/etc/pillion/xds.pem",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Cert })},
	{"control_plane_tls.key", "", "its private key", "/etc/pillion/xds.key",
		file(func(c *Config) *File { return &c.ControlPlaneTLS.Key })},
	{"advertise", "", "IP:PORT where fronts and other sidecars reach this one; by default the local address of the connection to the control plane and the data port", "10.100.0.20:8080",
		endpoint(func(c *Config) *string { return &c.Advertise })},
}

var trustKeys = []key{
	{"keys", "", "key files that seal ids and sessions: id=NUMBER,file=PATH,use=seal or use=open. One seals, all of them open; 'pillion config key FILE' makes one", "id=1,file=/etc/pillion/key-1,use=seal",
		live(sealKeys(func(c *Config) *[]Key { return &c.Keys }))},
	{"peers", "", "the app's sidecars, so that they can ask each other for a session: ROUTE=HOST:PORT, the data address of each; needs keys", "a2=10.100.0.21:8080",
		live(peers(func(c *Config) *[]Peer { return &c.Peers }))},
	{"app_auth.keys", "", "key files, shared with the app, for Pillion-Auth; the first one signs", "/etc/pillion/app-key",
		files(func(c *Config) *[]File { return &c.AppAuth.Keys })},
	{"api.listen", "", "loopback address or unix:/PATH where the app reads sessions above session.inline_max; off by default", "127.0.0.1:9905",
		loopbackOnly(func(c *Config) *string { return &c.API.Listen })},
	{"tls.cert", "", "PEM certificate chain for visitors; turns TLS on for the data port", "/etc/pillion/tls.pem",
		live(file(func(c *Config) *File { return &c.TLS.Cert }))},
	{"tls.key", "", "its private key", "/etc/pillion/tls.key",
		live(file(func(c *Config) *File { return &c.TLS.Key }))},
	{"tls.client_ca", "", "PEM file of CAs; visitors must present a certificate signed by one of them", "/etc/pillion/clients.pem",
		live(file(func(c *Config) *File { return &c.TLS.ClientCA }))},
	{"trusted_proxies", "", "networks whose X-Forwarded-* fields are believed; those from elsewhere are replaced", "10.0.0.0/8",
		networks(func(c *Config) *[]netip.Prefix { return &c.TrustedProxies })},
	{"proxy_protocol", "false", "require each connection to begin with a PROXY protocol header, version 1 or 2, which names the visitor", "",
		boolean(func(c *Config) *bool { return &c.ProxyProtocol })},
}

var limitKeys = []key{
	{"limits.header_bytes", "64KiB", "largest head of a request", "",
		live(size(func(c *Config) *int { return &c.Limits.HeaderBytes }))},
	{"limits.header_count", "100", "most fields in a request's head", "",
		live(between(func(c *Config) *int { return &c.Limits.HeaderCount }, 1, 10000))},
	{"limits.connections", "10000", "most connections from visitors at a time; 0: no limit", "",
		live(between(func(c *Config) *int { return &c.Limits.Connections }, 0, 1<<24))},
	{"limits.idle", "75s", "how long a connection may wait for its next request", "",
		live(positive(func(c *Config) *time.Duration { return &c.Limits.Idle }))},
	{"limits.header_timeout", "10s", "how long a visitor may take to send a request's head", "",
		live(positive(func(c *Config) *time.Duration { return &c.Limits.HeaderTimeout }))},
	{"limits.creations", "0", "how many sessions one client, an IPv4 address or an IPv6 /64, may begin in a minute; more get a 429. 0: no limit. Behind a front, set trusted_proxies", "600",
		live(between(func(c *Config) *int { return &c.Creations }, 0, 1<<24))},
	{"memory_limit", "25%", "memory for sticky sessions: a size, or a share of the machine's memory", "512MiB",
		memory(func(c *Config) *Memory { return &c.MemoryLimit })},
	{"header_cache", "64MiB", "memory for the header values of sessions in use and for their opened copies, which get a quarter of it, in shared mode half", "",
		size(func(c *Config) *int { return &c.HeaderCache })},
	{"log.level", "info", "debug, info, warn or error", "",
		live(level(func(c *Config) *slog.Level { return &c.Log.Level }))},
	{"log.access", "false", "log each request, with the session's public ref and never its id", "",
		boolean(func(c *Config) *bool { return &c.Log.Access })},
}
