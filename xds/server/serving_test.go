package server_test

import (
	"slices"
	"testing"
	"time"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-proxy/pillion/xds/server"
)

func TestServesWhatIsSet(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		c := open()
		c.ask(resource.ClusterType)
		c.silent() // nothing before the first Set
		set(t, s, clusters("a", "b"))
		r := c.next()
		slices.Sort(r.names)
		if !slices.Equal(r.names, []string{"a", "b"}) {
			t.Fatalf("names %v", r.names)
		}
		c.answer(r, "")
		set(t, s, clusters("a", "b"))
		c.silent() // the same content is the same version
		set(t, s, slow(clusters("a", "b"), "b", time.Second))
		r = c.next()
		if !slices.Contains(r.names, "b") {
			t.Fatalf("names %v", r.names)
		}
		c.answer(r, "")
		set(t, s, clusters("a"))
		if r = c.next(); slices.Contains(r.names, "b") {
			t.Fatalf("names %v after b was removed", r.names)
		}
	})
}

// A wildcard subscription to a type that is there and empty is answered, or Envoy would wait for it at its start.
func TestAnswersWithNothing(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		set(t, s, clusters())
		c := open()
		c.ask(resource.ClusterType)
		if r := c.next(); len(r.names) > 0 {
			t.Fatalf("names %v", r.names)
		}
	})
}

// A client that asks for some of the resources gets them: go-control-plane's cache with ads=true would leave it waiting.
func TestAnswersSubsets(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		set(t, s, clusters("a", "b"))
		c := open()
		c.ask(resource.ClusterType, "a")
		r := c.next()
		if !slices.Equal(r.names, []string{"a"}) {
			t.Fatalf("names %v", r.names)
		}
	})
}

// The NACK guard: the same content is offered once, a newer one at once.
func TestNACKIsParked(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, w *watcher, open func() client) {
		set(t, s, clusters("a"))
		c := open()
		c.ask(resource.ClusterType)
		c.answer(c.next(), "")
		set(t, s, slow(clusters("a"), "a", -time.Second))
		c.answer(c.next(), "connect_timeout is negative")
		c.silent()
		set(t, s, slow(clusters("a"), "a", -time.Second))
		c.silent()
		answers, _ := w.seen()
		if len(answers) != 2 || answers[0].Error != "" || answers[1].Error != "connect_timeout is negative" || !answers[1].First {
			t.Fatalf("answers %+v", answers)
		}
		state := s.Streams()[0].Types[resource.ClusterType]
		if state.NACKs != 1 || state.Error == "" || state.Sent == state.Acked {
			t.Errorf("state %+v", state)
		}
		set(t, s, slow(clusters("a"), "a", time.Second))
		c.answer(c.next(), "")
		eventually(t, "the good one is accepted", func() bool {
			state := s.Streams()[0].Types[resource.ClusterType]
			return state.Sent == state.Acked && state.Error == ""
		})
	})
}

func TestUnknownTypeIsParked(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		set(t, s, clusters("a"))
		c := open()
		c.ask("type.googleapis.com/example.Unheard", "x")
		c.silent()
		c.ask(resource.ClusterType) // the stream lives on
		if r := c.next(); r.typeURL != resource.ClusterType {
			t.Fatalf("%+v", r)
		}
	})
}

func TestOpaqueByNameOnly(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		set(t, s, server.Resources{opaque: {"mine": text("1"), "other": text("1")}})
		c := open()
		c.ask(opaque)
		c.nothing() // no names ask for nothing
		c = open()
		c.ask(opaque, "mine", "later")
		r := c.next()
		if len(r.names) != 1 {
			t.Fatalf("names %v", r.names)
		}
		c.answer(r, "")
		set(t, s, server.Resources{opaque: {"mine": text("1"), "later": text("1")}})
		c.next() // a name that was not there is answered when it is
	})
}

func TestBehind(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, _ *watcher, open func() client) {
		at := func(version string) server.Resources {
			return server.Resources{resource.EndpointType: map[string]proto.Message{
				"a": &endpoint.ClusterLoadAssignment{ClusterName: "a", Policy: nil, NamedEndpoints: map[string]*endpoint.Endpoint{version: {Hostname: version}}},
				"b": &endpoint.ClusterLoadAssignment{ClusterName: "b"},
			}}
		}
		set(t, s, at("1"))
		if n := s.Behind(resource.EndpointType, "a"); n != 0 {
			t.Fatalf("%d behind without streams", n)
		}
		one, other := open(), open()
		young := s.Behind(resource.EndpointType, "a")
		one.ask(resource.EndpointType, "a")
		first := one.next()
		other.ask(resource.EndpointType, "b")
		other.answer(other.next(), "")
		if n := s.Behind(resource.EndpointType, "a"); young != 0 || n != 2 {
			t.Fatalf("%d behind; want the one before its ACK, and the one that may still ask for it", n)
		}
		eventually(t, "the other has not asked for it", func() bool { return s.Behind(resource.EndpointType, "a") == 1 })
		one.answer(first, "")
		eventually(t, "nobody is behind", func() bool { return s.Behind(resource.EndpointType, "a") == 0 })
		set(t, s, at("2"))
		if n := s.Behind(resource.EndpointType, "a"); n != 1 {
			t.Fatalf("%d behind after a change; the one that never had it does not count", n)
		}
		second := one.next()
		set(t, s, at("1")) // back to what it accepted, while the other is on its way
		if n := s.Behind(resource.EndpointType, "a"); n != 1 {
			t.Fatalf("%d behind while something else is on its way", n)
		}
		one.answer(second, "")
		one.answer(one.next(), "")
		eventually(t, "nobody is behind", func() bool { return s.Behind(resource.EndpointType, "a") == 0 })
		set(t, s, at("3"))
		one.close()
		eventually(t, "a closed stream does not count", func() bool { return s.Behind(resource.EndpointType, "a") == 0 })
	})
}

func TestObserverRefuses(t *testing.T) {
	both(t, func(t *testing.T, s *server.Server, w *watcher, open func() client) {
		w.refuse = status.Error(codes.InvalidArgument, "no")
		set(t, s, clusters("a"))
		c := open()
		c.ask(resource.ClusterType)
		eventually(t, "the refused stream is closed", func() bool { _, closed := w.seen(); return closed == 1 })
		if n := len(s.Streams()); n != 0 {
			t.Errorf("%d streams", n)
		}
	})
}

func TestTwoServersSayTheSame(t *testing.T) {
	one, _, _ := start(t)
	two, _, _ := start(t)
	set(t, one, clusters("a", "b"))
	set(t, two, clusters("b", "a"))
	if a, b := one.Versions("front"), two.Versions("front"); a[resource.ClusterType] == "" || a[resource.ClusterType] != b[resource.ClusterType] {
		t.Errorf("versions %v and %v", a, b)
	}
}

// An Envoy that drops its last listener asks for no route any more, and ignores those that come. It must not be sent them for ever.
func TestIgnoringClientIsNotSentTheSameForEver(t *testing.T) {
	s, _, c := start(t)
	set(t, s, clusters("a"))
	e := newSotw(t, c).(*sotw)
	e.ask(resource.ClusterType, "a")
	last := e.next()
	e.answer(last, "")
	for range 3 {
		set(t, s, slow(clusters("a"), "a", time.Duration(len(last.nonce))*time.Second))
		e.asked[resource.ClusterType], e.acked[resource.ClusterType] = nil, ""
		for n := 0; ; n++ {
			_ = e.stream.Send(&discovery.DiscoveryRequest{TypeUrl: resource.ClusterType, ResponseNonce: last.nonce})
			r, more := e.within(quiet)
			if !more {
				break
			}
			if last = r; n > 3 {
				t.Fatal("it is sent the same again and again")
			}
		}
	}
}

// A delta client that comes back with what it has is not sent it again, and is not behind.
func TestComingBack(t *testing.T) {
	s, _, c := start(t)
	set(t, s, clusters("a"))
	first := newDelta(t, c).(*delta)
	var version string
	first.ask(resource.ClusterType, "a")
	select {
	case <-time.After(within):
	case version = <-first.versions:
	}
	first.close()
	again := newDelta(t, c).(*delta)
	_ = again.stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: resource.ClusterType, ResourceNamesSubscribe: []string{"a"},
		InitialResourceVersions: map[string]string{"a": version}})
	again.silent()
	if n := s.Behind(resource.ClusterType, "a"); n != 0 {
		t.Errorf("%d behind", n)
	}
}
