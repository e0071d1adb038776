package sidecar_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sidecar"
)

// hanging is a request that waits for its answer; lost is set when the front gives it up.
type hanging struct {
	*head.Exchange
	lost bool
}

func (b *balancer) hang(method, route string) *hanging {
	x := &hanging{Exchange: request(method, homed(route))}
	x.Lose = func() { x.lost = true }
	b.must(x.Exchange, route)
	return x
}

// What waits at a sidecar that has left its probes unanswered for three seconds is given up; what another one works on is not, nor is what
// has come just now.
func TestFrontGivesUpASilentSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2")
		b.run()
		here, there := b.hang("GET", "a1"), b.hang("GET", "a2")
		wait(time.Minute) // however slow, they live
		synctest.Wait()
		b.set("a1", errLate)
		wait(2 * time.Second)
		synctest.Wait()
		if here.lost {
			t.Error("a request is given up within three seconds")
		}
		young := request("GET", homed("a2"))
		b.must(young, "a2")
		wait(2 * time.Second)
		synctest.Wait()
		if !here.lost || there.lost {
			t.Errorf("given up: %v at the silent one, %v at the other", here.lost, there.lost)
		}
		if got := where(b.Lost(here.Exchange, true)); got != "a2" {
			t.Errorf("it goes on to %s", got)
		}
	})
}

// A sidecar that refuses, hangs up on a probe, or answers any request lives.
func TestFrontWaitsForWhoLives(t *testing.T) {
	for name, said := range map[string]error{"refuses": sidecar.ErrRefused, "hangs up": sidecar.ErrDeclined, "drains": errDraining, "answers requests": errLate} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBalancer(t, "a1")
				b.run()
				x := b.hang("GET", "a1")
				for range 10 {
					other := b.hang("GET", "a1")
					b.set("a1", said)
					if errors.Is(said, errLate) {
						_ = b.Response(other.Exchange, &head.Head{Status: 200})
					}
					b.End(other.Exchange, nil)
				}
				if x.lost {
					t.Error("a request of a living sidecar is given up")
				}
			})
		})
	}
}

// A sidecar that has drained is in no site any more, and finishes what it has; it is given up like the others, and forgotten afterwards.
func TestFrontGivesUpADepartedSidecar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(t, "a1", "a2")
		b.run()
		x := b.hang("POST", "a1")
		b.SetSite(siteOf(fleetOf("a2")))
		b.set("a1", nil)
		wait(time.Minute)
		synctest.Wait()
		if x.lost {
			t.Fatal("it lives")
		}
		b.set("a1", errLate)
		wait(5 * time.Second)
		synctest.Wait()
		if !x.lost {
			t.Error("it still waits")
		}
		if got := where(b.Lost(x.Exchange, true)); got != "502" {
			t.Errorf("a POST goes on to %s", got)
		}
		b.End(x.Exchange, nil)
		wait(2 * time.Second)
		synctest.Wait()
		before := b.asked()
		wait(10 * time.Second)
		synctest.Wait()
		if n := b.asked() - before; n != 10 {
			t.Errorf("%d probes of one sidecar in 10 s", n)
		}
	})
}
