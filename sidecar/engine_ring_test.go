package sidecar_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// DESIGN 9: what a request costs at the nodes, and in how many round trips.
func TestOperationCounts(t *testing.T) {
	const trip = 10 * time.Millisecond
	for _, row := range []struct {
		name        string
		sticky      bool
		copies      int
		read, write int // operations
		trips       int // that a write's answer waits for
	}{
		{"sticky", true, 2, 0, 4, 2},
		{"sticky with one copy", true, 1, 0, 2, 2},
		{"shared", false, 2, 1, 4, 3}, // the load, then cas beside gets, then cas
	} {
		t.Run(row.name, func(t *testing.T) {
			inMode(t, row.sticky, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				v.get(nil)
				wait(time.Second)
				f.operations()
				for i := range 5 {
					v.get(nil)
					if n := f.operations(); n != row.read {
						t.Errorf("a read costs %d operations, want %d", n, row.read)
					}
					v.get(patch(fmt.Sprintf(`{"b":%d}`, i)))
					if n := f.operations(); n > row.write {
						t.Errorf("a write costs %d operations, want at most %d", n, row.write)
					}
					v.get(patch(fmt.Sprintf(`{"b":%d}`, i)))
					if n := f.operations(); n != row.read {
						t.Errorf("a write that changes nothing costs %d operations, want %d", n, row.read)
					}
				}
				f.each(func(n *node) { n.slow(trip) })
				start := time.Now()
				v.get(patch(`{"c":1}`))
				if took := time.Since(start); took != time.Duration(row.trips)*trip {
					t.Errorf("a write waits %v, want %d round trips", took, row.trips)
				}
			}, func(s *setup) { s.Copies, s.ring.Copies = row.copies, row.copies })
		})
	}
}

func (f *fleet) each(do func(n *node)) {
	for _, n := range f.nodes {
		do(n)
	}
}

// Takeover: a sidecar that gets the cookie of a dead one goes on with its session, one epoch later, under its own name.
func TestTakeover(t *testing.T) {
	for _, copies := range []int{1, 2} {
		inMode(t, true, func(t *testing.T, f *fleet, p *process) {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			for i := range 3 {
				v.get(patch(fmt.Sprintf(`{"n%d":%d}`, i, i)))
			}
			before := v.parsed()
			p.kill()
			second := f.sidecar("b2", p.alike)
			v.at = second
			a := v.get(patch(`{"b":2}`))
			after := v.parsed()
			if a.app.session() != `{"a":1,"n0":0,"n1":1,"n2":2}` || a.setCookie() == "" {
				t.Fatalf("the app was given %s, the visitor %q", a.app.session(), a.setCookie())
			}
			if after.Route != "b2" || after.Epoch != before.Epoch+1 || after.Random != before.Random || after.Issued != before.Issued || after.Node != before.Node {
				t.Errorf("%+v after %+v", after, before)
			}
			v.must(`{"a":1,"b":2,"n0":0,"n1":1,"n2":2}`)
			if n := second.counted("session_events_total", "takeover"); n != 1 {
				t.Errorf("%v takeovers were counted", n)
			}
			// The same route again is another process, and owns nothing.
			second.kill()
			third := f.sidecar("b2", p.alike)
			v.at = third
			v.must(`{"a":1,"b":2,"n0":0,"n1":1,"n2":2}`)
			if again := v.parsed(); again.Route != "b2" || again.Epoch != after.Epoch+1 {
				t.Errorf("after the restart %+v", again)
			}
			f.operations()
			v.must(`{"a":1,"b":2,"n0":0,"n1":1,"n2":2}`)
			if n := f.operations(); n != 0 {
				t.Errorf("the new home reads the ring: %d operations", n)
			}
		}, func(s *setup) { s.Copies, s.ring.Copies = copies, copies })
	}
}

// A sidecar whose sessions went elsewhere notices with its next write or touch, and the newer cookie always wins (K8).
func TestFormerHomeYields(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		second := f.sidecar("b2", p.alike)
		v.at = second
		v.get(patch(`{"b":2}`))
		v.at = p // back, with a cookie of a later epoch
		v.must(`{"a":1,"b":2}`)
		if id := v.parsed(); id.Route != "a1" || id.Epoch != 2 {
			t.Errorf("the id is %+v", id)
		}
		v.get(patch(`{"c":3}`))
		v.at = second
		v.must(`{"a":1,"b":2,"c":3}`)
	})
}

// Relocation: when the id's node dies, the answer to the next write names another; random and issued stay.
func TestRelocation(t *testing.T) {
	for _, how := range []string{"killed", "silent"} {
		t.Run(how, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				before := v.parsed()
				lost := f.node(before.Node)
				if how == "killed" {
					lost.kill()
				} else {
					lost.silence(true)
				}
				start := time.Now()
				a := v.get(patch(`{"b":2}`))
				if a.StatusCode != 200 || time.Since(start) > 250*time.Millisecond {
					t.Fatalf("%d %s after %v", a.StatusCode, a.token(), time.Since(start))
				}
				after := v.parsed()
				if after.Node == before.Node || after.Random != before.Random || after.Issued != before.Issued || a.setCookie() == "" {
					t.Errorf("%s after %s", after, before)
				}
				v.must(`{"a":1,"b":2}`)
				if n := p.counted("session_events_total", "relocated"); n != 1 {
					t.Errorf("%v relocations were counted", n)
				}
				if how == "killed" {
					lost.revive()
				} else {
					lost.silence(false)
					wait(5 * time.Second)
				}
				v.get(patch(`{"c":3}`))
				wait(2 * time.Minute)
				v.get(nil)
				wait(time.Second)
				f.node(after.Node).kill() // the other one has all of it
				other := f.sidecar("b2", p.alike).visitor().take(v.id())
				other.must(`{"a":1,"b":2,"c":3}`)
			})
		})
	}
}

func (f *fleet) node(name string) *node {
	for _, n := range f.nodes {
		if n.name == name {
			return n
		}
	}
	f.t.Fatalf("no node %q", name)
	return nil
}

// ring.isolated: what sticky mode does while no node takes a write.
func TestIsolated(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		inMode(t, true, func(t *testing.T, f *fleet, p *process) {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			f.each((*node).kill)
			v.must(`{"a":1}`)
			a := v.get(patch(`{"b":2}`))
			if refuse {
				if a.StatusCode != 503 || a.token() != "commit_failed" {
					t.Errorf("refuse: %d %s", a.StatusCode, a.token())
				}
				v.must(`{"a":1}`)
				return
			}
			if a.StatusCode != 200 || p.counted("commits_total", "isolated") != 1 {
				t.Errorf("serve: %d %s", a.StatusCode, a.token())
			}
			v.must(`{"a":1,"b":2}`)
			fresh := p.visitor()
			if a := fresh.get(patch(`{"c":3}`)); a.StatusCode != 200 {
				t.Errorf("a birth: %d %s", a.StatusCode, a.token())
			}
			fresh.must(`{"c":3}`)
			f.each((*node).revive)
			wait(5 * time.Second)
			p.kill()
			second := f.sidecar("b2", p.alike)
			v.at, fresh.at = second, second
			v.must(`{"a":1,"b":2}`)
			fresh.must(`{"c":3}`)
		}, func(s *setup) { s.Refuse = refuse })
	}
}

// UNKNOWN: 503 with the cookie kept while the silent node may have the session, then anonymous, the cookie still kept until the app writes.
func TestUnknown(t *testing.T) {
	one := func(s *setup) { s.Copies, s.ring.Copies = 1, 1 }
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		id := v.id()
		p.kill()
		f.node(v.parsed().Node).silence(true)
		second := f.sidecar("b2", p.alike)
		v.at = second
		for range 50 {
			if a := v.get(patch(`{"b":2}`)); a.StatusCode != 503 || a.token() != "ring_unknown" || v.id() != id || a.app != nil {
				t.Fatalf("%d %s", a.StatusCode, a.token())
			}
			wait(time.Second)
		}
		wait(20 * time.Second)
		if a := v.get(nil); a.StatusCode != 200 || a.app.session() != `{}` || a.setCookie() != "" || v.id() != id {
			t.Errorf("after unknown_for: %d, the app got %s", a.StatusCode, a.app.session())
		}
		v.get(patch(`{"b":2}`))
		v.must(`{"b":2}`)
		if n := second.counted("unknown_total"); n < 50 {
			t.Errorf("%v were counted", n)
		}
	}, one)
	inMode(t, true, func(t *testing.T, f *fleet, p *process) { // ring.unknown: anonymous
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		p.kill()
		f.node(v.parsed().Node).silence(true)
		v.at = f.sidecar("b2", p.alike, func(s *setup) { s.Anonymous = true })
		v.must(`{}`)
	}, one)
}

// While no node answers, shared mode says so, however long that lasts.
func TestRingDown(t *testing.T) {
	for _, lock := range []sidecar.LockMode{sidecar.LockNone, sidecar.LockAll} {
		inMode(t, false, func(t *testing.T, f *fleet, p *process) {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			id := v.id()
			f.each((*node).kill)
			for range 10 {
				if a := v.get(nil); a.StatusCode != 503 || a.token() != "ring_down" || v.id() != id {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
				wait(time.Minute)
			}
			if a := p.visitor().get(nil); a.StatusCode != 200 {
				t.Errorf("who has no session: %d %s", a.StatusCode, a.token())
			}
			if a := p.visitor().get(patch(`{"a":1}`)); a.StatusCode != 503 || a.token() != "commit_failed" {
				t.Errorf("a birth: %d %s", a.StatusCode, a.token())
			}
		}, func(s *setup) { s.Lock = lock })
	}
}

// A ring that came back empty: the visitor starts anew, and the loss is counted; a sticky home has lost nothing.
func TestRingRestartsEmpty(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		wait(time.Minute)
		f.each((*node).restart)
		if p.setup.Sticky {
			v.must(`{"a":1}`)
			wait(5 * time.Second)
			p.kill()
			v.at = f.sidecar("b2", p.alike)
			v.must(`{"a":1}`)
			f.each((*node).restart)
			v.at.kill()
			v.at = f.sidecar("c3", p.alike)
		}
		a := v.get(nil)
		if a.StatusCode != 200 || a.app.session() != `{}` {
			t.Errorf("%d, the app was given %v", a.StatusCode, a.app)
		}
		if n := v.at.counted("session_events_total", "lost"); n != 1 {
			t.Errorf("%v losses were counted", n)
		}
		v.get(patch(`{"b":2}`))
		v.must(`{"b":2}`)
	})
}

// commit: all waits for both copies, async for none (sticky) or one.
func TestCommitPolicies(t *testing.T) {
	const trip = 10 * time.Millisecond
	for _, row := range []struct {
		name   string
		commit sidecar.Commit
		sticky bool
		waits  time.Duration
		short  int // status while one node is dead
	}{
		{"async sticky", sidecar.Async, true, 0, 200},
		{"async shared", sidecar.Async, false, 2 * trip, 200},
		{"before_reply sticky", sidecar.BeforeReply, true, 2 * trip, 200},
		{"before_reply shared", sidecar.BeforeReply, false, 3 * trip, 200},
		{"all sticky", sidecar.All, true, 2 * trip, 503},
		{"all shared", sidecar.All, false, 3 * trip, 503},
	} {
		t.Run(row.name, func(t *testing.T) {
			inMode(t, row.sticky, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				f.each(func(n *node) { n.slow(trip) })
				v.get(patch(`{"b":1}`)) // opens the connections
				wait(time.Second)
				start := time.Now()
				v.get(patch(`{"b":2}`))
				if took := time.Since(start); took != row.waits {
					t.Errorf("the answer waits %v, want %v", took, row.waits)
				}
				wait(time.Second)
				f.node(v.parsed().Node).kill()
				a := v.get(patch(`{"c":3}`))
				if a.StatusCode != row.short {
					t.Errorf("with one node %d %s, want %d", a.StatusCode, a.token(), row.short)
				}
				wait(time.Second)
				v.at = f.sidecar("b2", p.alike)
				if got := v.session(); row.short == 200 && got != `{"a":1,"b":2,"c":3}` {
					t.Errorf("the other sidecar reads %s", got)
				}
			}, func(s *setup) { s.Commit = row.commit })
		})
	}
}

// A4: what may not be forgotten is not promised: destroy, renewal and, in shared mode, every write is a 503 while no node takes it.
func TestA4FailsClosed(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		id := v.id()
		for _, row := range []struct {
			name, token string
			do          script
		}{
			{"destroy", "commit_failed", op("destroy")},
			{"renew", "commit_failed", op("renew")},
			{"login", "ring_down", login("ada")}, // the subject's epoch cannot be read
			{"patch", "commit_failed", patch(`{"b":2}`)},
		} {
			if row.name == "patch" && p.setup.Sticky {
				continue // ring.isolated decides
			}
			cut := func(w http.ResponseWriter, r *http.Request) {
				f.each(func(n *node) { n.silence(true) })
				row.do(w, r)
			}
			a := v.get(cut)
			if a.StatusCode != 503 || a.token() != row.token || v.id() != id || strings.Contains(a.Header.Get("Set-Cookie"), "psid") {
				t.Errorf("%s: %d %s", row.name, a.StatusCode, a.token())
			}
			f.each(func(n *node) { n.silence(false) })
			wait(10 * time.Second)
			v.must(`{"a":1}`)
		}
	})
}
