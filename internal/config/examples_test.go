package config

import "testing"

// TestExamples loads the two classic configurations of memcached-session-manager.
func TestExamples(t *testing.T) {
	for name, sticky := range map[string]bool{"sticky.yaml": true, "shared.yaml": false} {
		c, err := Load([]string{"--config=../../examples/config/" + name}, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if c.Sticky != sticky || len(c.Ring.Nodes) != 2 || c.Ring.Nodes[1] != (Node{"n2", "10.100.0.21:11211", ""}) {
			t.Errorf("%s: sticky %v, nodes %v", name, c.Sticky, c.Ring.Nodes)
		}
		for path, ignored := range map[string]bool{"/logo.png": true, "/cart": false, "/png": false} {
			if got := c.Session.Ignore[0].MatchString(path); got != ignored {
				t.Errorf("%s: ignores %s: %v", name, path, got)
			}
		}
		want := map[bool]Config{
			true:  {Commit: CommitAsync, Lock: LockNone, Copies: 1, Ring: Ring{LocalNodes: Locals{Auto: true}}},
			false: {Commit: CommitBeforeReply, Lock: LockAuto, Copies: 2},
		}[sticky]
		if c.Commit != want.Commit || c.Lock != want.Lock || c.Copies != want.Copies || c.Ring.LocalNodes.Auto != want.Ring.LocalNodes.Auto {
			t.Errorf("%s: commit %s, lock %s, copies %d, auto %v", name, c.Commit, c.Lock, c.Copies, c.Ring.LocalNodes.Auto)
		}
	}
}
