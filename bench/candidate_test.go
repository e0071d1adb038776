package main

import (
	"crypto/tls"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What a candidate was not seen doing makes a round worthless.
func TestJudge(t *testing.T) {
	full := reading{app: seen{requests: 10, sessions: 10}, asked: operations{20, 20}, sessions: 10, commits: 10}
	for _, row := range []struct {
		missing string
		change  func(*reading)
	}{
		{"", func(*reading) {}},
		{"requests at the app", func(r *reading) { r.app = seen{9, 9, 0} }},
		{"requests with a session at the app", func(r *reading) { r.app.sessions-- }},
		{"sessions served by the sidecar", func(r *reading) { r.sessions-- }},
		{"sessions that stayed at home", func(r *reading) { r.strayed++ }},
		{"commits", func(r *reading) { r.commits-- }},
		{"memcached gets", func(r *reading) { r.asked.gets = 18 }},
		{"memcached writes", func(r *reading) { r.asked.writes = 0 }},
	} {
		c := &candidate{name: "c", sidecars: []*server{{}}, does: work{session: true, commit: true, gets: 1.9, writes: 1.9}}
		after := full
		row.change(&after)
		err := c.judge(reading{}, after, 10)
		if (err == nil) != (row.missing == "") || err != nil && !strings.Contains(err.Error(), row.missing) {
			t.Errorf("%s: %v", row.missing, err)
		}
	}
}

// wrk drives the app itself, which counts no session: no figure when there should be one.
func TestDriveWantsProof(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	l := &lab{ctx: t.Context(), dir: t.TempDir()}
	defer l.close()
	a, err := newLoopbackApp()
	if err != nil {
		t.Fatal(err)
	}
	defer a.listener.Close()
	c := &candidate{name: "c", url: "http://" + a.address() + "/", app: a, does: work{session: true}}
	if c.cookies, err = l.file("cookies", "psid=1\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.drive(c, 2, warmUp); err == nil || !strings.Contains(err.Error(), "requests with a session at the app 0") {
		t.Errorf("got %v", err)
	}
}

// Budgets and comparisons are about candidates that exist, and every candidate has one name.
func TestPeersAndBudgetsAgree(t *testing.T) {
	var names []string
	for _, p := range peers {
		if slices.Contains(names, p.name) {
			t.Errorf("%s is there twice", p.name)
		}
		names = append(names, p.name)
	}
	for _, b := range budgets {
		for _, name := range b.candidates {
			if !slices.Contains(names, name) {
				t.Errorf("%s: no candidate is called %q", b.what, name)
			}
		}
		if b.limit < b.goal {
			t.Errorf("%s: the limit is below the goal", b.what)
		}
	}
}

func TestConfigurationsRender(t *testing.T) {
	c := nginxConf{Dir: "/tmp/x", Listen: "127.0.0.1:1", App: "127.0.0.1:2", Nodes: []string{"3", "4"}, Backends: []backend{{"a1", "127.0.0.1:5"}}}
	for want, variants := range map[string][]string{
		"proxy_pass http://app;":                 nil,
		`"~\.a1$" a1;`:                           {nginxBalancer},
		`shared.sessions:get`:                    {nginxLua, nginxLuaDict},
		`node(3)`:                                {nginxLua, nginxLuaGet},
		`local nodes, seen = { node(3), node(4)`: {nginxLua, nginxLuaFour},
	} {
		text, err := render(c, nginxBase, variants...)
		if err != nil || !strings.Contains(text, want) || strings.Contains(text, "<no value>") {
			t.Errorf("want %s: %v\n%s", want, err, text)
		}
	}
}

func TestCertificateIsReadable(t *testing.T) {
	l := &lab{dir: t.TempDir()}
	chain, key, err := l.certificate()
	if err == nil {
		_, err = tls.LoadX509KeyPair(chain, key)
	}
	if err != nil {
		t.Error(err)
	}
}

func TestMissingProgramsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := installed("no-such-server")
	if err == nil || !strings.Contains(err.Error(), "no-such-server not found: on Debian and Ubuntu, sudo apt-get install no-such-server") {
		t.Errorf("got %v", err)
	}
}
