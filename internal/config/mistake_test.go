package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// mistakes loads and returns the mistakes as text, nil when there are none.
func mistakes(t *testing.T, args, env []string) (all []string) {
	t.Helper()
	_, err := Load(args, env)
	var wrong *Error
	if err != nil && !errors.As(err, &wrong) {
		t.Fatalf("Load: %v, want an *Error", err)
	}
	if wrong != nil {
		for _, m := range wrong.Mistakes {
			all = append(all, m.String())
		}
	}
	return all
}

func compare(t *testing.T, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("mistakes:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// TestMistakes adds flags to the minimal ones and expects exactly the listed mistakes.
func TestMistakes(t *testing.T) {
	for _, tc := range []struct {
		name string
		args string // separated by spaces
		want []string
	}{
		{"unknown flag", "--sesion-idle=1m", []string{`--sesion-idle (flag): is unknown; did you mean --session-idle?`}},
		{"unknown flags with values", "--nodes n1 --xyzzy", []string{`--nodes (flag): is unknown`, `--xyzzy (flag): is unknown`}},
		{"stray word", "serve", []string{`serve (argument): is not a flag; a value is written --NAME=VALUE`}},
		{"flag without value", "--app", []string{`flags: flag needs an argument: --app`}},
		{"given twice", "--listen=:1 --listen=:2", []string{`listen (flag --listen): is given 2 times and takes one value; for example :8080`}},
		{"durations", "--session-idle=30 --lock-wait=-1s --commit-timeout=0s", []string{
			`session.idle (flag --session-idle): "30" is no duration: a number with ms, s, m or h; for example 30m`,
			`commit_timeout (flag --commit-timeout): must be more than 0; for example 250ms`,
			`lock_wait (flag --lock-wait): "-1s" is less than 0; for example 1s`}},
		{"one node, two spellings", "--ring-nodes=c1=Cache:11211 --ring-nodes=c2=cache.:011211 --ring-nodes=c3=[::1]:1 --ring-nodes=c4=[0:0::1]:1", []string{
			`ring.nodes (flag --ring-nodes): c1 and c2 are the same node cache:11211; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): c3 and c4 are the same node [::1]:1; for example n1=10.100.0.20:11211`}},
		{"a circle", "--listen=:3000", []string{
			`upstream (flag --upstream): is where this sidecar itself listens, so that each request would go round in circles: give the app another port`}},
		{"odd addresses", "--ring-nodes=c1=a\x01b:1 --ring-nodes=c2=a:+1", []string{
			`ring.nodes (flag --ring-nodes): "c1=a\x01b:1" names no host; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): "c2=a:+1": the port is not a number from 1 to 65535; for example n1=10.100.0.20:11211`}},
		{"whole seconds", "--session-idle=500ms --session-lifetime=2000000h --session-max-age=1500ms", []string{
			`session.max_age (flag --session-max-age): "1500ms" is not 0s to 87600h0m0s in whole seconds; for example 0s`,
			`session.idle (flag --session-idle): "500ms" is not 1s to 87600h0m0s in whole seconds; for example 30m`,
			`session.lifetime (flag --session-lifetime): "2000000h" is not 1s to 87600h0m0s in whole seconds; for example 24h`}},
		{"sizes", "--session-max-size=64KB --session-inline-max=0 --memory-limit=120%", []string{
			`session.max_size (flag --session-max-size): "64KB" is no size: a whole number with KiB, MiB or GiB; for example 64KiB`,
			`session.inline_max (flag --session-inline-max): "0" is no size: a whole number with KiB, MiB or GiB; for example 4KiB`,
			`memory_limit (flag --memory-limit): "120%" is not 1% to 100%; for example 512MiB`}},
		{"too large", "--session-max-size=3GiB", []string{`session.max_size (flag --session-max-size): "3GiB" is too much; for example 64KiB`}},
		{"names", "--app=Shop --route=a_b --session-cookie=a;b --admin-hosts=a:1", []string{
			`app (flag --app): is given 2 times and takes one value; for example shop`,
			`admin_hosts (flag --admin-hosts): "a:1" is not a host name without port; for example pillion.internal`,
			`route (flag --route): "a_b" is not 1 to 32 of a-z, 0-9 and -; for example web1-8080`,
			`session.cookie (flag --session-cookie): "a;b" is not a cookie name; for example __Host-sid`}},
		{"listen", "--listen=8080 --admin=:99999 --health-path=ready", []string{
			`listen (flag --listen): "8080" is no address to listen on: HOST:PORT or :PORT; for example :8080`,
			`admin (flag --admin): ":99999" is no address to listen on: HOST:PORT or :PORT; for example 127.0.0.1:9901`,
			`health_path (flag --health-path): "ready" is not a path that begins with /; for example /.well-known/pillion/ready`}},
		{"loopback", "--api-listen=:9902", []string{
			`api.listen (flag --api-listen): ":9902" is not a loopback address, and sessions are read there without a password; for example 127.0.0.1:9905`}},
		{"bool", "--sticky=yes", []string{`sticky (flag --sticky): "yes" is neither true nor false; for example true`}},
		{"words", "--commit=sync --copies=3 --ring-isolated=wait --ring-unknown=500 --lock=uri --compression=gzip --session-same-site=none --log-level=trace", []string{
			`ring.unknown (flag --ring-unknown): "500" is none of 503, anonymous; for example 503`,
			`ring.isolated (flag --ring-isolated): "wait" is none of serve, refuse; for example serve`,
			`session.same_site (flag --session-same-site): "none" is none of Lax, Strict, None; for example Lax`,
			`commit (flag --commit): "sync" is none of before_reply, all, async; for example before_reply`,
			`copies (flag --copies): "3" is not a number from 1 to 2; for example 2`,
			`lock (flag --lock): "uri" is none of none, all, auto, paths; for example none`,
			`compression (flag --compression): "gzip" is none of auto, none, snappy, zstd; for example auto`,
			`log.level (flag --log-level): "trace" is none of debug, info, warn, error; for example info`}},
		{"regex", "--session-ignore=( --session-ignore=^/a", []string{
			"session.ignore (flag --session-ignore): \"(\" does not compile: error parsing regexp: missing closing ): `(`; for example " + `\.(ico|png|gif|jpg|css|js)$`}},
		{"networks", "--trusted-proxies=10.0.0.0/8,10.0.0/8", []string{`trusted_proxies (flag --trusted-proxies): "10.0.0/8" is no network; for example 10.0.0.0/8`}},
		{"nodes", "--ring-nodes=n1=10.0.0.9:11211,N3=h:1,n4=h,n5=h:1;zone=a,n6:h:1,n7=unix:m.sock", []string{
			`ring.nodes (flag --ring-nodes): "N3=h:1": a node's name is 1 to 16 of a-z, 0-9 and _, and not auto or none; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): "n4=h" needs a host and a port, an IPv6 host in brackets; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): "n5=h:1;zone=a": the only option is ;host=MACHINE; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): "n6:h:1" is written n6=h:1 here; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): "n7=unix:m.sock": the path of a socket begins with /; for example n1=10.100.0.20:11211`,
			`ring.nodes (flag --ring-nodes): the name n1 is given twice; for example n1=10.100.0.20:11211`}},
		{"duplicate node", "--ring-nodes=n3=tls:10.100.0.20:11211", []string{
			`ring.nodes (flag --ring-nodes): n1 and n3 are the same node 10.100.0.20:11211; for example n1=10.100.0.20:11211`}},
		{"all nodes local", "--ring-local-nodes=n2,n1", []string{
			`ring.local_nodes (flag --ring-local-nodes): names every node, so that none of another machine is left: leave those of other machines away, or write none`}},
		{"local node unknown", "--ring-local-nodes=n3,n1,n4", []string{
			`ring.local_nodes (flag --ring-local-nodes): n3, n4: not in ring.nodes, which has n1, n2`}},
		{"local node twice", "--ring-local-nodes=n1,n1", []string{
			`ring.local_nodes (flag --ring-local-nodes): n1 is given twice; for example n1`}},
		{"auto with names", "--ring-local-nodes=auto,n1", []string{`ring.local_nodes (flag --ring-local-nodes): auto stands alone, without names; for example n1`}},
		{"__Host- without Secure", "--session-insecure-cookie --session-cookie=__host-x", []string{
			`session.cookie (flag --session-cookie): __host-x is only kept with Secure: choose a name without that prefix, or leave session.insecure_cookie away`}},
		{"__Secure- without Secure", "--session-insecure-cookie --session-cookie=__Secure-x", []string{
			`session.cookie (flag --session-cookie): __Secure-x is only kept with Secure: choose a name without that prefix, or leave session.insecure_cookie away`}},
		{"attributes without Secure", "--session-insecure-cookie --session-same-site=None --session-partitioned", []string{
			`session.same_site (flag --session-same-site): None is only kept with Secure: choose Lax or Strict, or leave session.insecure_cookie away`,
			`session.partitioned (flag --session-partitioned): is only kept with Secure: leave it away, or session.insecure_cookie`}},
		{"max_age", "--session-max-age=9601h", []string{`session.max_age (flag --session-max-age): is more than browsers keep: write at most 9600h (400 days)`}},
		{"idle", "--session-idle=2h --session-lifetime=1h", []string{
			`session.idle (flag --session-idle): is longer than session.lifetime (1h0m0s): shorten it, or lengthen the lifetime`}},
		{"lock without paths", "--lock=paths", []string{`lock (flag --lock): paths needs lock_paths; for example ^/cart/`}},
		{"paths without lock", "--lock-paths=^/cart", []string{`lock_paths (flag --lock-paths): is used with lock: paths only`}},
		{"space", "--space=site", []string{`space (flag --space): Different apps in one space need sticky: false`}},
		{"copies", "--sticky=false --copies=1", []string{`copies (flag --copies): is for sticky sessions, and sticky: false always keeps 2 copies: leave it away`}},
		{"missing file", "--admin-token-file=/does/not/exist", []string{
			`admin_token_file (flag --admin-token-file): open /does/not/exist: no such file or directory`}},
		{"TLS halves", "--tls-client-ca=load.go --ring-tls-ca=load.go", []string{
			`ring.tls.ca (flag --ring-tls-ca): no node of ring.nodes is written tls:HOST:PORT, so that all would be spoken to in clear`,
			`tls.client_ca (flag --tls-client-ca): tls.client_ca needs tls.cert and tls.key`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			compare(t, mistakes(t, append(minimal[:len(minimal):len(minimal)], strings.Fields(tc.args)...), nil), tc.want)
		})
	}
}

func TestMissing(t *testing.T) {
	compare(t, mistakes(t, nil, nil), []string{
		"app: is missing: write --app, PILLION_APP, or app in the file; for example shop",
		"upstream: is missing: write --upstream, PILLION_UPSTREAM, or upstream in the file; for example http://127.0.0.1:3000",
		"ring.nodes: is missing: write --ring-nodes, PILLION_RING_NODES, or ring.nodes in the file; for example n1=10.100.0.20:11211",
	})
	for upstream, want := range map[string]string{
		"https://h:1":   `"https://h:1" begins with neither unix: nor http://`,
		"http://h":      `"http://h" needs a host and a port, an IPv6 host in brackets`,
		"http://h:1/p":  `"http://h:1/p" has a path: requests keep their own`,
		"http://:3000":  `"http://:3000" names no host`,
		"http://h:0":    `"http://h:0": the port is not a number from 1 to 65535`,
		"unix:app.sock": `"unix:app.sock": the path of a socket begins with /`,
	} {
		compare(t, mistakes(t, []string{minimal[0], minimal[2], "--upstream=" + upstream}, nil),
			[]string{"upstream (flag --upstream): " + want + "; for example http://127.0.0.1:3000"})
	}
}

// TestMistakesOfAllSources: everything at once, with where it came from.
func TestMistakesOfAllSources(t *testing.T) {
	path := write(t, "p.yaml", "app: shop\nring:\n  node: n1=h:1\n  nodes: [n1]\nsesion: {idle: 5m}\nsession: 1\nlisten: [a]\nadmin: {a: 1}\nlock_wait: 5\n")
	compare(t, mistakes(t, []string{"--config", path, "--copys=1"}, []string{"PILLION_UPSTREAM=x", "PILLION_SESSION_IDEL=5m"}), []string{
		`--copys (flag): is unknown; did you mean --copies?`,
		`PILLION_SESSION_IDEL (env): is unknown; did you mean PILLION_SESSION_IDLE?`,
		`ring.node (` + path + `:3): is unknown; did you mean ring.nodes?`,
		`sesion.idle (` + path + `:5): is unknown; did you mean session.idle?`,
		`session (` + path + `:6): is a section: write its keys below it, indented`,
		`listen (` + path + `:7): takes one value, not a list`,
		`admin (` + path + `:8): takes a value, not keys below it`,
		`upstream (env PILLION_UPSTREAM): "x" begins with neither unix: nor http://; for example http://127.0.0.1:3000`,
		`ring.nodes (` + path + `:4): "n1" is no node: NAME=HOST:PORT; for example n1=10.100.0.20:11211`,
		`lock_wait (` + path + `:9): "5" is no duration: a number with ms, s, m or h; for example 1s`,
	})
}

// The app must not be the sidecar itself: one request would take every connection there is.
func TestUpstreamLeadsBack(t *testing.T) {
	for listen, upstreams := range map[string]map[string]bool{
		":3000":          {"127.0.0.1:3000": true, "localhost:3000": true, "[::1]:3000": true, "127.0.0.1:3001": false, "10.0.0.1:3000": false},
		"0.0.0.0:3000":   {"127.0.0.1:3000": true},
		"10.0.0.1:3000":  {"127.0.0.1:3000": false, "10.0.0.1:3000": true},
		"127.0.0.1:3000": {"127.0.0.1:3000": true},
		":0":             {"127.0.0.1:3000": false},
	} {
		for address, want := range upstreams {
			if got := (Upstream{"tcp", address}).leadsTo(listen); got != want {
				t.Errorf("%s leads to %s: %v", address, listen, got)
			}
		}
	}
	if (Upstream{"unix", "/run/app.sock"}).leadsTo(":3000") {
		t.Error("a socket leads to a port")
	}
}

func TestBadFiles(t *testing.T) {
	for content, want := range map[string]string{
		"a: [":                                 "did not find expected node content",
		"- a":                                  "the file must be keys with values",
		"app: a\n---\napp: b\n":                "holds more than one YAML document",
		"app: a\nApp: b\n":                     "app is given twice, in line 1 and line 2",
		"ring.nodes: []\nring:\n  nodes: []\n": "ring.nodes is given twice, in line 1 and line 3",
	} {
		path := write(t, "p.yaml", content)
		got := mistakes(t, append(minimal[:3:3], "--config", path), nil)
		if len(got) != 1 || !strings.Contains(got[0], want) || !strings.Contains(got[0], path) {
			t.Errorf("%q: %q, want %q", content, got, want)
		}
		if got := mistakes(t, []string{"--config", path}, nil); len(got) != 1 {
			t.Errorf("%q: %q, of which all but one may be in the file", content, got)
		}
	}
	compare(t, mistakes(t, minimal, []string{"PILLION_CONFIG=/does/not/exist"}), []string{"config: open /does/not/exist: no such file or directory"})
}

func TestKeyMistakes(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a": strings.Repeat("a", 32), "b": strings.Repeat("b", 64) + "\n", "short": "abc", "nothex": strings.Repeat("x", 64), "c": strings.Repeat("a", 32),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const example = "; for example id=1,file=/etc/pillion/key-1,use=seal"
	for _, tc := range []struct {
		entries string // with file names in dir, separated by spaces
		want    []string
	}{
		{"id=1,file=a,use=seal id=2,file=b,use=open", nil},
		{"id=1,file=a,use=seal id=2,file=b,use=seal", []string{"2 keys have use=seal, and exactly one must" + example}},
		{"id=1,file=a,use=open", []string{"0 keys have use=seal, and exactly one must" + example}},
		{"id=1,file=a,use=seal id=1,file=b,use=open", []string{"id 1 is given twice" + example}},
		{"id=1,file=a,use=seal id=2,file=c,use=open", []string{"two entries hold the same key: a new id needs a new key"}},
		{"id=0,file=a,use=seal", []string{`"id=0,file=DIR/a,use=seal": id is a number from 1 to 4294967295` + example}},
		{"id=1,file=a", []string{`"id=1,file=DIR/a" needs id, file, and use=seal or use=open` + example}},
		{"id=1,file=a,use=seal,x=y", []string{`"id=1,file=DIR/a,use=seal,x=y": "x" is none of id, file, use` + example}},
		{"id=1,file=short,use=seal id=2,file=nothex,use=open id=3,file=none,use=open", []string{
			"DIR/short holds 3 bytes, which are neither 32 raw bytes nor 64 hex nor 44 base64 characters; pillion config key makes one",
			"DIR/nothex holds 64 bytes, which are neither 32 raw bytes nor 64 hex nor 44 base64 characters; pillion config key makes one",
			"open DIR/none: no such file or directory"}},
	} {
		entries := strings.ReplaceAll(strings.ReplaceAll(tc.entries, "file=", "file="+dir+"/"), " ", "\n")
		var want []string
		for _, w := range tc.want {
			want = append(want, "keys (env PILLION_KEYS): "+strings.ReplaceAll(w, "DIR", dir))
		}
		compare(t, mistakes(t, minimal, []string{"PILLION_KEYS=" + entries}), want)
	}
}
