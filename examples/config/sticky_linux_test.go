package config_test

import (
	"slices"
	"testing"
	"time"
)

const sticky = "sticky.yaml"

// TestFailoverNodes shows msm's memcachedNodes and failoverNodes: a session is kept on the other machine's node, and on its own
// machine's only while that one is down.
func TestFailoverNodes(t *testing.T) {
	for _, c := range []struct {
		name  string
		home  func(*site) *machine
		flags []string
	}{
		{"of 10.100.0.20", func(s *site) *machine { return s.m20 }, nil},
		{"of 10.100.0.21", func(s *site) *machine { return s.m21 }, nil},
		{"before the reply", func(s *site) *machine { return s.m20 }, []string{"--commit=before_reply"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, sticky, c.flags...)
			home := c.home(s)
			own, foreign := home.node, s.other(home).node
			v := &visitor{t: t}
			synchronous := len(c.flags) > 0
			v.counts(home, 1)
			v.named(foreign, home.name)
			s.settles(v, own, "-", foreign, "1", synchronous)
			if got := own.sessions(t); len(got) != 0 {
				t.Errorf("%s holds %q, want no session", own.name, got)
			}
			if got := foreign.sessions(t); !slices.Equal(got, []string{s.key(v)}) {
				t.Errorf("%s holds %q, want %s alone", foreign.name, got, s.key(v))
			}

			foreign.kill()
			v.counts(home, 2)
			if synchronous {
				v.named(own, home.name)
			}
			s.settles(v, own, "2", foreign, "down", synchronous)
			eventually(t, "the id names "+own.name, func() bool { v.reads(home, 2); return v.id().Node == own.name })
			v.named(own, home.name)

			foreign.start(t)
			s.settles(v, own, "2", foreign, "2", false) // a node that comes back empty is filled without a request
			v.counts(home, 3)
			v.named(foreign, home.name)
			s.settles(v, own, "2", foreign, "3", synchronous)
		})
	}
}

// settles checks what both nodes hold, at once after a synchronous commit.
func (s *site) settles(v *visitor, own *node, onOwn string, foreign *node, onForeign string, atOnce bool) {
	s.t.Helper()
	check := func() bool { return s.holds(own, v) == onOwn && s.holds(foreign, v) == onForeign }
	if !check() && (atOnce || !poll(check)) {
		s.t.Fatalf("the nodes hold %s, want %s:%s %s:%s", s.copies(v), own.name, onOwn, foreign.name, onForeign)
	}
}

// TestMachineLost is what failoverNodes is for: the machine goes with its app, its sidecar and its node, the sessions stay.
func TestMachineLost(t *testing.T) {
	s := start(t, sticky)
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	s.wants(v, "n1:- n2:1")
	for _, p := range []*process{s.m20.node.process, s.m20.app, s.m20.sidecar} {
		p.kill()
	}
	v.counts(s.m21, 2)
	v.named(s.m21.node, "m21")
	s.wants(v, "n1:down n2:2")
}

// TestCopies shows what Pillion does by default and msm cannot: a sticky session on both nodes.
func TestCopies(t *testing.T) {
	s := start(t, sticky, "--copies=2")
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	s.wants(v, "n1:1 n2:1")
	v.counts(s.m20, 2)
	s.wants(v, "n1:2 n2:2")
	s.same(v)
}

// TestBackupAsync shows msm's sessionBackupAsync: an answer does not wait for a node, which gets the change when it can. An answer
// that waited would take seconds.
func TestBackupAsync(t *testing.T) {
	s := start(t, sticky, "--ring-op-timeout=5s", "--commit-timeout=5s")
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	s.wants(v, "n1:- n2:1")
	s.m21.node.freeze(t)
	a := v.counts(s.m20, 2)
	s.m21.node.thaw()
	if a.took > 2*time.Second {
		t.Errorf("an answer took %v while the node was frozen", a.took)
	}
	s.wants(v, "n1:- n2:2")
}
