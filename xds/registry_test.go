package xds

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func everybody([]member) error { return nil }

// fleet drives a registry with a clock of its own.
type clockedRegistry struct {
	*registry
	t      *testing.T
	now    time.Time
	number uint64
}

func newClocked(t *testing.T) *clockedRegistry {
	return &clockedRegistry{newRegistry(), t, time.Unix(1e9, 0), 0}
}

func (r *clockedRegistry) join(stream, app, route, address string) {
	r.t.Helper()
	r.number++
	m := member{Stream: stream, number: r.number, Sidecar: Sidecar{App: app, Space: app, Route: route, Address: address, Cookie: "c"}}
	if news, err := r.announce(m, everybody); err != nil || !news {
		r.t.Fatalf("announce: %t, %v", news, err)
	}
}

func (r *clockedRegistry) drain(stream string) {
	r.t.Helper()
	m, _ := r.of(stream)
	m.Draining = true
	if news, err := r.announce(m, everybody); err != nil || !news {
		r.t.Fatalf("announce: %t, %v", news, err)
	}
}

func (r *clockedRegistry) served() (streams []string) {
	all, _ := r.view(r.now)
	for _, m := range all {
		if m.Hidden == "" {
			streams = append(streams, m.Stream)
		}
	}
	return streams
}

func (r *clockedRegistry) want(when string, streams ...string) {
	r.t.Helper()
	if got := r.served(); !slices.Equal(got, streams) {
		r.t.Errorf("%s: served are %v, want %v", when, got, streams)
	}
}

func TestRegistryNewestStreamOfARouteWins(t *testing.T) {
	r := newClocked(t)
	r.join("old", "shop", "a1", "10.0.0.1:1")
	r.join("new", "shop", "a1", "10.0.0.1:2")
	r.want("both open", "new")
	r.drain("old") // what the older says later does not make it the newest
	r.want("the older speaks", "new")
	r.leave("old", r.now)
	r.want("the older ends", "new")
	r.join("other", "shop", "a2", "10.0.0.1:2")
	r.want("another route at the same address", "other")
}

func TestRegistryLoss(t *testing.T) {
	r := newClocked(t)
	r.join("s1", "shop", "a1", "10.0.0.1:1")
	r.join("s2", "shop", "a2", "10.0.0.2:1")
	r.leave("s1", r.now)
	r.want("just lost", "s1", "s2")
	if _, next := r.view(r.now); !next.Equal(r.now.Add(lossGrace)) {
		t.Errorf("the view changes at %v", next)
	}
	r.now = r.now.Add(lossGrace)
	r.want("lost for good", "s2")

	r.leave("s2", r.now)
	r.now = r.now.Add(time.Hour)
	r.want("the last of an app stays", "s2")
	r.join("s3", "shop", "a3", "10.0.0.3:1")
	r.want("until another is there", "s3")
}

func TestRegistryComesBack(t *testing.T) {
	r := newClocked(t)
	r.join("s1", "shop", "a1", "10.0.0.1:1")
	r.join("s2", "shop", "a2", "10.0.0.2:1")
	r.leave("s1", r.now)
	r.join("s1-again", "shop", "a1", "10.0.0.1:1")
	r.want("back", "s1-again", "s2")
	r.leave("s2", r.now)
	r.join("s3", "cart", "c1", "10.0.0.2:1")
	r.want("its address is another app's now", "s3", "s1-again")
}

func TestRegistryAnnouncedEndTakesTheEndpointAtOnce(t *testing.T) {
	r := newClocked(t)
	r.join("s1", "shop", "a1", "10.0.0.1:1")
	r.drain("s1")
	r.want("draining", "s1")
	r.leave("s1", r.now)
	r.want("left")
}

func TestRegistryRefusesAndKeeps(t *testing.T) {
	r := newClocked(t)
	r.join("s1", "shop", "a1", "10.0.0.1:1")
	no := errors.New("no")
	m, _ := r.of("s1")
	m.Address = "10.0.0.9:1"
	if _, err := r.announce(m, func([]member) error { return no }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	if kept, _ := r.of("s1"); kept.Address != "10.0.0.1:1" {
		t.Errorf("a refused announcement was taken: %+v", kept)
	}
	if news, err := r.announce(m, func(all []member) error {
		if len(all) != 1 {
			t.Errorf("%d members are judged; its own former self is one too many", len(all))
		}
		return nil
	}); !news || err != nil {
		t.Error(news, err)
	}
	if news, _ := r.announce(m, everybody); news {
		t.Error("the same again is news")
	}
}
