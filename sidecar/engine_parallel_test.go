package sidecar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// sleepy does s after d.
func sleepy(d time.Duration, s script) script {
	return func(w http.ResponseWriter, r *http.Request) {
		wait(d)
		s(w, r)
	}
}

// increment adds 1 to an attribute, as an app does that knows nothing of parallel requests: read, think, write.
func increment(name string, think time.Duration) script {
	return func(w http.ResponseWriter, r *http.Request) {
		var session map[string]int
		_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &session)
		wait(think)
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{%q:%d}`, name, session[name]+1))
	}
}

// Parallel patches of different attributes, and of different members of one, all survive: on one sidecar and across two. Only where
// two sidecars own a sticky session at once, one attribute is one value, and the later wins (docs/failure-modes.md).
func TestParallelPatchesSurvive(t *testing.T) {
	const requests = 40
	for _, sidecars := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d sidecars", sidecars), func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				at, oneOwner := []*process{p}, sidecars == 1 || !p.setup.Sticky
				if sidecars == 2 {
					at = append(at, f.sidecar("b2", p.alike))
				}
				v := p.visitor()
				v.get(patch(`{"a":1,"o":{}}`))
				f.each(func(n *node) { n.slow(time.Millisecond) })
				var all sync.WaitGroup
				var mu sync.Mutex
				kept := map[string]bool{}
				for i := range requests {
					all.Go(func() {
						name := fmt.Sprintf("k%d", i)
						a := at[i%sidecars].visitor().take(v.id()).get(sleepy(time.Duration(i%7)*time.Millisecond, patch(fmt.Sprintf(`{%q:1,"o":{%q:1}}`, name, name))))
						mu.Lock()
						defer mu.Unlock()
						kept[name] = a.StatusCode == 200
					})
				}
				all.Wait()
				wait(3 * time.Minute)
				for i, reader := range at {
					// Where two own a session, a read may be stale for a touch interval: the first one touches.
					reader.visitor().take(v.id()).get(nil)
					wait(time.Second)
					var session struct{ O map[string]int }
					var names map[string]any
					text := reader.visitor().take(v.id()).session()
					if json.Unmarshal([]byte(text), &session) != nil || json.Unmarshal([]byte(text), &names) != nil {
						t.Fatalf("not JSON: %s", text)
					}
					for name, acknowledged := range kept {
						if !acknowledged {
							t.Errorf("%s was refused", name)
						}
						if names[name] == nil {
							t.Errorf("sidecar %d: attribute %s is lost", i, name)
						}
						if oneOwner && session.O[name] != 1 {
							t.Errorf("sidecar %d: member %s is lost", i, name)
						}
					}
				}
			})
		})
	}
}

// Locks: parallel increments of one attribute are counted exactly, or refused.
func TestLocksCountExactly(t *testing.T) {
	const requests, think = 12, 20 * time.Millisecond
	for _, row := range []struct {
		name   string
		change func(*setup)
		path   string
		exact  bool
	}{
		{"all", func(s *setup) { s.Lock = sidecar.LockAll }, "/count", true},
		{"auto", func(s *setup) { s.Lock = sidecar.LockAuto }, "/count", true},
		{"paths", func(s *setup) {
			s.Lock, s.LockPaths = sidecar.LockPaths, []*regexp.Regexp{regexp.MustCompile(`^/count`)}
		}, "/count", true},
		{"another path", func(s *setup) {
			s.Lock, s.LockPaths = sidecar.LockPaths, []*regexp.Regexp{regexp.MustCompile(`^/count`)}
		}, "/other", false},
		{"none", func(s *setup) {}, "/count", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				at := []*process{p, p}
				if !p.setup.Sticky {
					at[1] = f.sidecar("b2", p.alike)
				}
				v := p.visitor()
				v.get(patch(`{"n":0}`))
				var all sync.WaitGroup
				var mu sync.Mutex
				counted := 0
				for i := range requests {
					all.Go(func() {
						a := at[i%2].visitor().take(v.id()).ask("POST", row.path+"?q=1", increment("n", think))
						mu.Lock()
						defer mu.Unlock()
						switch {
						case a.StatusCode == 200:
							counted++
						case a.token() != "lock_timeout" && a.token() != "lock_lost":
							t.Errorf("%d %s", a.StatusCode, a.token())
						}
					})
				}
				all.Wait()
				want := fmt.Sprintf(`{"n":%d}`, counted)
				if got := v.session(); (got == want) != row.exact || counted < 2 {
					t.Errorf("%d increments were acknowledged, the session is %s", counted, got)
				}
				if row.exact && counted < requests {
					t.Logf("%d of %d were refused", requests-counted, requests)
				}
				if strings.Contains(fmt.Sprint(f.keys()), ":l:") {
					t.Errorf("a lock is left: %v", f.keys())
				}
			}, row.change, func(s *setup) { s.LockWait = 5 * time.Second })
		})
	}
}

// auto: routes that only read are learned and run beside each other; a route that was seen to write waits.
func TestLockAutoLearns(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":0}`))
		pair := func(path string, do script) time.Duration {
			start := time.Now()
			var both sync.WaitGroup
			for range 2 {
				both.Go(func() { p.visitor().take(v.id()).ask("GET", path, sleepy(100*time.Millisecond, do)) })
			}
			both.Wait()
			return time.Since(start)
		}
		if took := pair("/read", says()); took < 200*time.Millisecond {
			t.Errorf("an unseen route does not lock: %v", took)
		}
		if took := pair("/read?other=query", says()); took >= 200*time.Millisecond {
			t.Errorf("a route that reads still locks: %v", took)
		}
		pair("/write", patch(`{"n":1}`))
		if took := pair("/write", patch(`{"n":2}`)); took < 200*time.Millisecond {
			t.Errorf("a route that writes does not lock: %v", took)
		}
		if p.counted("lock_read_only_total") == 0 {
			t.Error("reads without a lock were not counted")
		}
	}, func(s *setup) { s.Lock = sidecar.LockAuto })
}

// lock_wait over is a 503, never a write without the lock; and the lock is given back when a client leaves or the app fails.
func TestLockTimeout(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"n":0}`))
		do, arrived, goOn := held(patch(`{"n":1}`))
		ended := make(chan *answer)
		go func() { ended <- p.visitor().take(v.id()).get(do) }()
		<-arrived
		start := time.Now()
		a := v.get(nil)
		if took := time.Since(start); a.StatusCode != 503 || a.token() != "lock_timeout" || a.app != nil || took > 1200*time.Millisecond {
			t.Errorf("%d %s after %v", a.StatusCode, a.token(), took)
		}
		close(goOn)
		<-ended
		v.must(`{"n":1}`)

		leaving, leave := context.WithCancel(context.Background())
		do, arrived, goOn = held(says())
		gone := make(chan error)
		go func() {
			_, err := p.visitor().take(v.id()).try(leaving, "GET", "/", do)
			gone <- err
		}()
		<-arrived
		leave()
		if <-gone == nil {
			t.Error("the client did not leave")
		}
		wait(10 * time.Millisecond)
		v.must(`{"n":1}`)
		close(goOn)
		v.get(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		v.must(`{"n":1}`)
	}, func(s *setup) { s.Lock = sidecar.LockAll })
}

// L5: a logout while a slow request is under way, at every moment of it: the session stays dead.
func TestL5LogoutRaces(t *testing.T) {
	const rounds = 200
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		f.each(func(n *node) { n.slow(time.Millisecond) })
		for i := range rounds {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			id := v.id()
			slow := p.visitor().take(id)
			var both sync.WaitGroup
			both.Go(func() { slow.get(sleepy(time.Duration(i)*100*time.Microsecond, patch(`{"b":2}`))) })
			both.Go(func() {
				if a := v.get(sleepy(10*time.Millisecond, op("destroy"))); a.StatusCode != 200 {
					t.Errorf("round %d: %d %s", i, a.StatusCode, a.token())
				}
			})
			both.Wait()
			for _, shown := range []string{id, slow.id()} {
				if got := p.visitor().take(shown).session(); got != `{}` {
					t.Fatalf("round %d: the session is back: %s", i, got)
				}
			}
		}
	})
}

// A renewal while slow requests are under way, at every moment of it: what was acknowledged is in the new session.
func TestRenewRaces(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		f.each(func(n *node) { n.slow(time.Millisecond) })
		for i := range 100 {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			slow := p.visitor().take(v.id())
			var late *answer
			var both sync.WaitGroup
			both.Go(func() { late = slow.get(sleepy(time.Duration(i)*200*time.Microsecond, patch(`{"late":1}`))) })
			both.Go(func() {
				v.get(sleepy(10*time.Millisecond, says("Pillion-Patch", `{"user":"ada"}`, "Pillion-Op", "renew")))
			})
			both.Wait()
			got := v.session()
			if late.StatusCode != 200 || got != `{"a":1,"late":1,"user":"ada"}` {
				t.Errorf("round %d: the late patch got %d %s, the session is %s", i, late.StatusCode, late.token(), got)
			}
			if slow.id() == v.id() {
				t.Errorf("round %d: the old id learnt the new one", i)
			}
		}
	})
}

// Two renewals at once: one wins, the other is told so; both browsers end up in a session or are told to come again.
func TestTwoRenewalsAtOnce(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		f.each(func(n *node) { n.slow(time.Millisecond) })
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		one, two := p.visitor().take(v.id()), p.visitor().take(v.id())
		var both sync.WaitGroup
		answers := make([]*answer, 2)
		for i, w := range []*visitor{one, two} {
			both.Go(func() {
				answers[i] = w.get(sleepy(time.Millisecond, says("Pillion-Patch", fmt.Sprintf(`{"u%d":1}`, i), "Pillion-Op", "renew")))
			})
		}
		both.Wait()
		won := 0
		for i, a := range answers {
			w := []*visitor{one, two}[i]
			if a.StatusCode == 200 {
				won++
				w.must(fmt.Sprintf(`{"a":1,"u%d":1}`, i))
			} else if a.token() != "commit_failed" || w.session() != `{"a":1}` {
				t.Errorf("the loser: %d %s, reads %s", a.StatusCode, a.token(), w.session())
			}
		}
		if won != 1 {
			t.Errorf("%d renewals of one session succeeded", won)
		}
	})
}

// A copy that is written late, after its answer, never undoes what the same visitor changed since.
func TestLateCopyUndoesNothing(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"o":{"k":0}}`))
		second := f.nodes[0]
		if v.parsed().Node == second.name {
			second = f.nodes[1]
		}
		for i := 1; i < 40; i++ {
			second.slow(time.Duration(i%8) * 12 * time.Millisecond)
			v.get(patch(fmt.Sprintf(`{"o":{"k":%d}}`, i)))
			v.must(fmt.Sprintf(`{"o":{"k":%d}}`, i))
			wait(time.Duration(i%5) * 10 * time.Millisecond)
		}
		second.slow(0)
		wait(2 * time.Minute)
		v.get(nil)
		wait(time.Second)
		v.must(`{"o":{"k":39}}`)
		f.sidecar("b2", p.alike).visitor().take(v.id()).must(`{"o":{"k":39}}`)
	})
}
