package config

import (
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

// defaults is what minimal gives.
func defaults() *Config {
	return &Config{
		App: "shop", Space: "shop", Listen: ":8080", Upstream: Upstream{"tcp", "127.0.0.1:3000"}, UpstreamTimeout: time.Minute,
		Admin: "127.0.0.1:9901", HealthPath: "/.well-known/pillion/ready", Sticky: true,
		Ring: Ring{
			Nodes:      []Node{{"n1", "10.100.0.20:11211", ""}, {"n2", "10.100.0.21:11211", ""}},
			LocalNodes: Locals{Auto: true}, OpTimeout: 100 * time.Millisecond, Unknown: Unknown503, UnknownFor: time.Minute, Isolated: IsolatedServe,
		},
		Session: Session{
			Cookie: "__Host-psid", SameSite: SameSiteLax, Idle: 30 * time.Minute, Lifetime: 24 * time.Hour, RenewGrace: 10 * time.Second, Revocation: 2 * time.Second,
			MaxSize: 64 << 10, InlineMax: 4 << 10, MaxPatch: 64 << 10,
		},
		Commit: CommitBeforeReply, CommitTimeout: 250 * time.Millisecond, Copies: 2,
		Lock: LockNone, LockWait: time.Second, Strict: true, Compression: CompressionAuto, MemoryLimit: Memory{Percent: 25}, HeaderCache: 64 << 20,
		DrainLinger: 200 * time.Millisecond,
		Limits:      Limits{HeaderBytes: 64 << 10, HeaderCount: 100, Connections: 10000, Idle: 75 * time.Second, HeaderTimeout: 10 * time.Second},
	}
}

func TestLoad(t *testing.T) {
	const yaml = `
app: shop
upstream: unix:/run/app.sock
ring:
  nodes: ["n1=tls:[fd00::1]:11211;host=h1", n2=unix:/run/m.sock]
  unknown: 503
session:
  idle: 10m
  ignore:
    - \.(ico|png){1,2}$
trusted_proxies: [10.0.0.0/8, 192.0.2.1]
memory_limit: 1GiB
`
	fromYAML := func(c *Config) {
		c.Upstream = Upstream{"unix", "/run/app.sock"}
		c.Ring.Nodes = []Node{{"n1", "tls:[fd00::1]:11211", "h1"}, {"n2", "unix:/run/m.sock", ""}}
		c.Session.Idle = 10 * time.Minute
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32")}
		c.MemoryLimit = Memory{Bytes: 1 << 30}
	}
	cases := []struct {
		name   string
		args   []string
		env    []string
		yaml   string
		ignore []string // regexes, which cannot be compared with the rest
		want   func(*Config)
	}{
		{name: "defaults", args: minimal, want: func(*Config) {}},
		{name: "file", yaml: yaml, ignore: []string{`\.(ico|png){1,2}$`}, want: fromYAML},
		{name: "variable over file", yaml: yaml, env: []string{"PILLION_SESSION_IDLE=20m", "PILLION_SESSION_IGNORE=^/a{1,2}\n^/b\n", "HOME=/root"},
			ignore: []string{"^/a{1,2}", "^/b"},
			want:   func(c *Config) { fromYAML(c); c.Session.Idle = 20 * time.Minute }},
		{name: "flag over variable over file", yaml: yaml, env: []string{"PILLION_SESSION_IDLE=20m", "PILLION_APP=other"},
			args:   []string{"--session-idle", "5m", "--app=shop", "--session-ignore=^/a,b", "--session-ignore=^/c", "--strict=false"},
			ignore: []string{"^/a,b", "^/c"},
			want:   func(c *Config) { fromYAML(c); c.Session.Idle = 5 * time.Minute; c.Strict = false }},
		{name: "variables alone", env: []string{"PILLION_APP=shop", "PILLION_UPSTREAM=http://127.0.0.1:3000", "PILLION_RING_NODES=n1=10.100.0.20:11211\nn2=10.100.0.21:11211",
			"PILLION_LOG_LEVEL=warn", "PILLION_ADMIN_HOSTS=a.example, b.example", "PILLION_RING_LOCAL_NODES=n2", "PILLION_ROUTE="},
			want: func(c *Config) {
				c.Log.Level = slog.LevelWarn
				c.AdminHosts = []string{"a.example", "b.example"}
				c.Ring.LocalNodes = Locals{Names: []string{"n2"}}
			}},
		{name: "repeated flags", args: []string{"--app=shop", "--upstream=http://127.0.0.1:3000", "--ring-nodes=n1=10.100.0.20:11211", "--ring-nodes=n2=10.100.0.21:11211", "--session-insecure-cookie"},
			want: func(c *Config) { c.Session.InsecureCookie, c.Session.Cookie = true, "psid" }},
		{name: "shared", args: append(minimal[:3:3], "--sticky=false", "--space=site", "--ring-local-nodes=none"),
			want: func(c *Config) { c.Sticky, c.Space, c.Ring.LocalNodes = false, "site", Locals{} }},
		{name: "Kubernetes", args: minimal, env: []string{"PILLION_SERVICE_HOST=10.0.0.1", "PILLION_PORT=tcp://10.0.0.1:80", "PILLION_PORT_80_TCP_ADDR=10.0.0.1",
			"PILLION_FRONT_SERVICE_PORT_HTTP=80", "PILLION_APP_KEY_FILE=/k"}, want: func(*Config) {}},
		{name: "a text for a list", args: minimal[:2], yaml: "ring:\n  nodes: n1=10.100.0.20:11211, n2=10.100.0.21:11211\nsession:\n  ignore: |\n    ^/a,b\n    ^/c\n",
			ignore: []string{"^/a,b", "^/c"}, want: func(*Config) {}},
		{name: "empty section and key", args: minimal, yaml: "ring:\nroute:\n", want: func(*Config) {}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			env := tc.env
			if tc.yaml != "" {
				env = append(env, "PILLION_CONFIG="+write(t, "pillion.yaml", tc.yaml))
			}
			got, err := Load(tc.args, env)
			if err != nil {
				t.Fatal(err)
			}
			var ignore []string
			for _, re := range got.Session.Ignore {
				ignore = append(ignore, re.String())
			}
			if !reflect.DeepEqual(ignore, tc.ignore) {
				t.Errorf("session.ignore is %q, want %q", ignore, tc.ignore)
			}
			want := defaults()
			tc.want(want)
			got.table, got.settings, got.files, got.Session.Ignore = nil, nil, nil, nil
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, arg := range []string{"-h", "--help"} {
		if _, err := Load([]string{"--nope", arg}, nil); !errors.Is(err, pflag.ErrHelp) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestSource(t *testing.T) {
	path := write(t, "pillion.yaml", "app: shop\nsession:\n  idle: 10m\n  lifetime: 20h\n")
	c, err := Load(append(minimal[1:], "--config", path), []string{"PILLION_SESSION_LIFETIME=10h"})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"app": path + ":1", "session.idle": path + ":3", "session.lifetime": "env PILLION_SESSION_LIFETIME", "upstream": "flag --upstream", "space": "default",
	} {
		if got := c.Source(key); got != want {
			t.Errorf("source of %s is %q, want %q", key, got, want)
		}
	}
}

func TestAdmin(t *testing.T) {
	path := write(t, "pillion.yaml", "admin: 0.0.0.0:9000\nother: 1\nkeys: [x]\nadmin_token_file: "+write(t, "token", canary+"\n")+"\n")
	if address, token, err := Admin([]string{"--config=" + path}, nil); err != nil || address != "0.0.0.0:9000" || token != canary {
		t.Errorf("Admin() = %q, %q, %v", address, token, err)
	}
	if address, token, err := Admin(nil, nil); err != nil || address != "127.0.0.1:9901" || token != "" {
		t.Errorf("Admin() = %q, %q, %v", address, token, err)
	}
	for env, want := range map[string]string{
		"PILLION_ADMIN=nope":                       `"nope"`,
		"PILLION_CONFIG=/does/not/exist":           "/does/not/exist",
		"PILLION_ADMIN_TOKEN_FILE=/does/not/exist": "/does/not/exist",
	} {
		if _, _, err := Admin(nil, []string{env}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
}

func TestRouteFor(t *testing.T) {
	for _, tc := range []struct {
		host string
		port int
		want string
	}{
		{"Web1.example.com", 8080, "web1-8080"},
		{"web_1", 80, "web-1-80"},
		{"wéb", 80, "w-b-80"},
		{"shop-6f9c7d5b4-abcdefghijk", 8080, "shop-6f9c7d5b4-abcdefghijk-8080"},
		{"shop-frontend-6f9c7d5b4-abcde", 8080, "shop-frontend-6f9c7d5b4-f243454c"},
	} {
		if got := RouteFor(tc.host, tc.port); got != tc.want || len(got) > maxRoute {
			t.Errorf("RouteFor(%q, %d) = %q, want %q", tc.host, tc.port, got, tc.want)
		}
	}
}

func TestWarnings(t *testing.T) {
	key := "--keys=id=1,use=seal,file=" + write(t, "key", canary)
	quiet := []string{minimal[0], minimal[1], "--ring-nodes=n1=h:1,n2=i:1", key, "--peers=a2=h:2"}
	for _, tc := range []struct {
		name string
		load func(args, environ []string) (*Config, error)
		args []string
		want string // each begins so, in this order
	}{
		{"nothing", Load, quiet, ""},
		{"minimal", Load, minimal, "keys neither"},
		{"no peers", Load, quiet[:4], "neither"},
		{"a control plane for peers", Load, append(quiet[:4:4], "--control-plane=h:1"), ""},
		{"one node", Load, []string{minimal[0], minimal[1], "--ring-nodes=n1=h:1", key, "--peers=a2=h:2", "--copies=1"}, "ring.nodes"},
		{"all that is risky", Load, append(quiet[:5:5], "--copies=1", "--commit=async", "--session-insecure-cookie", "--admin=:9901", "--trusted-proxies=::/0"),
			"trusted_proxies admin copies commit session.insecure_cookie"},
		{"a front", LoadFront, []string{"--backends=a1=h:1", "--trusted-proxies=10.0.0.0/8"}, ""},
		{"a front that believes everybody", LoadFront, []string{"--backends=a1=h:1", "--trusted-proxies=0.0.0.0/0", "--admin=:0"}, "trusted_proxies admin"},
		{"a control plane", LoadControlPlane, nil, ""},
		{"a control plane for everybody", LoadControlPlane, []string{"--listen=:18000", "--insecure"}, "insecure"},
	} {
		c, err := tc.load(tc.args, nil)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		var got []string
		for _, text := range c.Warnings() {
			first, _, _ := strings.Cut(text, " ")
			got = append(got, first)
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %s", tc.name, c.Warnings(), tc.want)
		}
	}
}
