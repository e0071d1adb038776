package sidecar_test

import (
	"testing"
	"testing/synctest"
)

// A home that drains is sent no request, whose connection it might just be closing: it hands the session over, with all that it has.
func TestPeersLeaveADrainingHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		v.through(p[1]).must(`{"n":1}`)
		forwarded := p[1].counted("session_events_total", "forwarded")
		if forwarded == 0 || v.parsed().Route != "a1" {
			t.Fatal("the request did not go to its home")
		}
		p[1].SetLeaving(map[string]bool{"a1": true})
		v.through(p[1]).must(`{"n":1}`)
		if p[1].counted("session_events_total", "forwarded") != forwarded || p[0].counted("session_events_total", "released") != 1 {
			t.Error("the draining home kept the session")
		}
		if v.parsed().Route != "a2" {
			t.Errorf("the session lives at %s", v.parsed().Route)
		}
	})
}
