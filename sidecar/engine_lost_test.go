package sidecar_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
