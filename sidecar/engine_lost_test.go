package sidecar_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A home dies with a forwarded request in its hands. A safe one is served here, and the session with it; no other is executed twice.
func TestPeersLoseTheHome(t *testing.T) {
	for method, want := range map[string]struct{ status, executed int }{"GET": {200, 2}, "POST": {502, 1}} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, all := family(newFleet(t, 2), "a1", "a2")
				v := all[0].visitor()
				v.get(patch(`{"n":1}`))
				var executed atomic.Int64
				arrived, over := make(chan struct{}), make(chan struct{})
				defer close(over)
				done := make(chan *answer)
				go func() {
					done <- v.through(all[1]).ask(method, "/", func(w http.ResponseWriter, _ *http.Request) {
						if executed.Add(1) == 1 {
							close(arrived)
							<-over
						}
					})
				}()
				<-arrived
				l.set(func() { l.dead["a1"] = true })
				all[0].kill()
				if a := <-done; a.StatusCode != want.status || int(executed.Load()) != want.executed {
					t.Errorf("%d after %d executions, want %d after %d", a.StatusCode, executed.Load(), want.status, want.executed)
				}
				v.must(`{"n":1}`)
			})
		})
	}
}

// A home vanishes with a forwarded request in its hands, and no connection to it ends. When it has been silent for three seconds a safe request
// is served here, and no other is executed twice.
func TestPeersGiveAVanishedHomeUp(t *testing.T) {
	for method, want := range map[string]struct{ status, executed int }{"GET": {200, 2}, "POST": {502, 1}} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, all := family(newFleet(t, 2), "a1", "a2")
				v := all[0].visitor()
				v.get(patch(`{"n":1}`))
				var executed atomic.Int64
				arrived, over := make(chan struct{}), make(chan struct{})
				defer close(over)
				done := make(chan *answer)
				go func() {
					done <- v.through(all[1]).ask(method, "/", func(http.ResponseWriter, *http.Request) {
						if executed.Add(1) == 1 {
							close(arrived)
							<-over
						}
					})
				}()
				<-arrived
				l.set(func() { l.cut["a2>a1"], l.cut["a1>a2"] = true, true })
				start := time.Now()
				a := <-done
				if took := time.Since(start); took < 4*time.Second || took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
				if a.StatusCode != want.status || int(executed.Load()) != want.executed {
					t.Errorf("%d after %d executions, want %d after %d", a.StatusCode, executed.Load(), want.status, want.executed)
				}
				if lost := all[1].counted("session_events_total", "forward_lost"); lost != 1 {
					t.Errorf("%v were given up", lost)
				}
				v.must(`{"n":1}`)
			})
		})
	}
}

// A slow app is waited for, whatever else happens to its sidecar that is no silence of three seconds.
func TestPeersWaitForASlowApp(t *testing.T) {
	for name, happens := range map[string]func(l *links){
		"nothing": func(*links) {},
		"a parted network": func(l *links) {
			for range 5 {
				l.set(func() { l.cut["a2>a1"] = true })
				wait(2500 * time.Millisecond)
				l.set(func() { l.cut["a2>a1"] = false })
				wait(2500 * time.Millisecond)
			}
		},
		"it leaves":              func(l *links) { l.set(func() { l.dead["a1"] = true }) },
		"it is no longer listed": func(l *links) { l.to["a2"].SetPeers(map[string]string{"a3": "a3:80"}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, all := family(newFleet(t, 2), "a1", "a2")
				v := all[0].visitor()
				v.get(patch(`{"n":1}`))
				arrived := make(chan struct{})
				done := make(chan *answer)
				go func() {
					done <- v.through(all[1]).ask("POST", "/", func(http.ResponseWriter, *http.Request) {
						close(arrived)
						wait(50 * time.Second)
					})
				}()
				<-arrived
				happens(l)
				if a := <-done; a.StatusCode != 200 {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
			})
		})
	}
}
