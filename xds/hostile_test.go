package xds

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Bad input and bad days: each hurts whoever causes it, and nobody else.

// fronted is a front that has subscribed to everything that it is served, and accepts all of it.
func fronted(t *testing.T, p *plane, id string) raw {
	t.Helper()
	r := dialRaw(t, p.address, nil)
	r.ask(front(id), resource.ClusterType)
	r.answer(r.next(), "")
	for name := range p.server.Resources(frontGroup)[resource.EndpointType] {
		r.ask(nil, resource.EndpointType, name)
		r.answer(r.next(), "")
	}
	return r
}

// A type that nobody knows is empty, and the stream goes on.
func TestUnknownTypeIsEmpty(t *testing.T) {
	p := startPlane(t, "", Options{})
	a1 := startBackend(t, "shop", "a1", p.address)
	eventually(t, "published", func() bool { return p.versions()["Cluster"] != "" })
	r := dialRaw(t, p.address, nil)
	r.ask(front("e"), "type.googleapis.com/no.such.Type")
	r.ask(nil, resource.ClusterType)
	for got := r.next(); got.GetTypeUrl() != resource.ClusterType; got = r.next() {
		if len(got.GetResources()) > 0 {
			t.Errorf("it is answered with %v", got)
		}
	}
	if err := a1.client.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// A front that takes nothing out of its connection gets what fits, and the others get everything in time.
func TestFrozenFrontHoldsUpNobody(t *testing.T) {
	p := startPlane(t, "", Options{})
	a1 := startBackend(t, "shop", "a1", p.address)
	var others []*backend
	for i := range 30 {
		others = append(others, startBackend(t, "shop", fmt.Sprintf("b%d", i), p.address))
	}
	eventually(t, "all are there", func() bool { return len(p.members()) == 31 })
	frozen, well := fronted(t, p, "frozen"), fronted(t, p, "well")
	_ = frozen // its stream is not read from here on, though its transport answers pings

	seen := make(chan int, 1000)
	go func() {
		for {
			r, err := well.stream.Recv()
			if err != nil {
				return
			}
			well.answer(r, "")
			for _, got := range r.GetResources() {
				var a endpoint.ClusterLoadAssignment
				if got.GetResource().UnmarshalTo(&a) == nil && len(a.GetEndpoints()) > 0 {
					draining := 0
					for _, e := range a.GetEndpoints()[0].GetLbEndpoints() {
						if e.GetHealthStatus().String() == "DRAINING" {
							draining++
						}
					}
					seen <- draining
				}
			}
		}
	}()
	for range 20 { // much more than a stream's window holds
		for _, b := range others {
			b.client.SetDraining(true)
		}
		waitFor(t, seen, 30)
		for _, b := range others {
			b.client.SetDraining(false)
		}
		waitFor(t, seen, 0)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := a1.client.Drain(ctx); err == nil {
		t.Error("a drain does not wait for a front that may still send visitors")
	}
}

func waitFor(t *testing.T, seen chan int, want int) {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case got := <-seen:
			if got == want {
				return
			}
		case <-late:
			t.Fatalf("%d draining were never seen", want)
		}
	}
}

// Five thousand sidecars of fifty apps register at once, one in ten with a route that another one has too.
func TestFiveThousandStreams(t *testing.T) {
	const streams, apps = 5000, 50
	services := "apps:\n"
	for i := range apps {
		services += fmt.Sprintf("  app%d: {hosts: [app%d.example]}\n", i, i)
	}
	p := startPlane(t, "", Options{Services: servicesFile(t, services)})
	var open sync.WaitGroup
	for c := range 10 {
		conn, err := grpc.NewClient(p.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		open.Go(func() {
			for i := range streams / 10 {
				n := c*streams/10 + i
				node := aSidecar(fmt.Sprintf("app%d", n%apps), fmt.Sprintf("r%d", n%4500), fmt.Sprintf("10.0.%d.%d:80", n/250, n%250)).node()
				s, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(t.Context())
				if err == nil {
					err = s.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: opaqueType, ResourceNamesSubscribe: []string{fmt.Sprintf("peers/app%d", n%apps)}})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	open.Wait()
	eventually(t, "all streams are there", func() bool { return p.server.Count(sidecarGroup) == streams })
	eventually(t, "one of each route is served", func() bool {
		served := 0
		for _, a := range p.server.Resources(frontGroup)[resource.EndpointType] {
			for _, locality := range a.(*endpoint.ClusterLoadAssignment).GetEndpoints() {
				served += len(locality.GetLbEndpoints())
			}
		}
		return served == 4500
	})
	fronted(t, p, "e")
	if n := testutil.ToFloat64(p.opts.Metrics.Streams.WithLabelValues(sidecarGroup)); n != streams {
		t.Errorf("%v streams are counted", n)
	}
}

// The newest stream of a route is served, and the end of the older one takes nothing from it.
func TestSecondStreamOfARoute(t *testing.T) {
	p := startPlane(t, "", Options{})
	old := startBackend(t, "shop", "a1", p.address)
	eventually(t, "the first is there", func() bool { return len(p.members()) == 1 })
	young := startBackend(t, "shop", "a1", p.address)
	served := func() string {
		for _, assignment := range p.server.Resources(frontGroup)[resource.EndpointType] {
			var all []string
			for _, e := range assignment.(*endpoint.ClusterLoadAssignment).GetEndpoints()[0].GetLbEndpoints() {
				at := e.GetEndpoint().GetAddress().GetSocketAddress()
				all = append(all, fmt.Sprintf("%s:%d", at.GetAddress(), at.GetPortValue()))
			}
			return strings.Join(all, " ")
		}
		return ""
	}
	eventually(t, "the second alone is served", func() bool { return served() == young.Sidecar.Address })
	old.cancel()
	eventually(t, "the first is gone", func() bool { return p.server.Count(sidecarGroup) == 1 })
	if got := served(); got != young.Sidecar.Address {
		t.Errorf("served is %s, want %s", got, young.Sidecar.Address)
	}
}

// A services file with mistakes changes nothing, names each of them once, and the next right one is taken.
func TestWrongServicesFileChangesNothing(t *testing.T) {
	services := servicesFile(t, "apps: {shop: {hosts: [shop.example]}}\n")
	p := startPlane(t, "", Options{Services: services})
	startBackend(t, "shop", "a1", p.address)
	eventually(t, "published", func() bool {
		return strings.Contains(fmt.Sprint(p.server.Resources(frontGroup)[resource.EndpointType]), "127.0.0.1")
	})
	before := p.versions()
	write(t, services, "apps: {shop: {prefix: x, retries: 99}}\nlisteners: [{port: 0}]\n")
	eventually(t, "it is reported", func() bool { return strings.Contains(p.log.String(), "the old one stays") })
	for _, mistake := range []string{"apps.shop.prefix", "apps.shop.retries", "listeners[0].port"} {
		if strings.Count(p.log.String(), mistake) != 1 {
			t.Errorf("%s is not reported once:\n%s", mistake, p.log)
		}
	}
	write(t, services, ": no yaml")
	eventually(t, "that is reported too", func() bool { return testutil.ToFloat64(p.opts.Metrics.ServiceLoad.WithLabelValues("rejected")) == 2 })
	if got := p.versions(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("published is %v, was %v", got, before)
	}
	write(t, services, "apps: {shop: {hosts: [other.example]}}\n")
	eventually(t, "the right one is taken", func() bool { return p.versions()["RouteConfiguration"] != before["RouteConfiguration"] })
}

// A hundred sidecars that change within a moment cost a front a few pushes.
func TestManyChangesAreFewPushes(t *testing.T) {
	p := startPlane(t, "", Options{})
	var all []*backend
	for i := range 100 {
		all = append(all, startBackend(t, "shop", fmt.Sprintf("a%d", i), p.address))
	}
	eventually(t, "all are there", func() bool { return len(p.members()) == 100 })
	rebuilds := func() float64 { return testutil.ToFloat64(p.opts.Metrics.Rebuilds.WithLabelValues("ok")) }
	draining := func() bool { return testutil.ToFloat64(p.opts.Metrics.Draining) == 100 }
	eventually(t, "it is quiet", func() bool {
		before := rebuilds()
		<-time.After(2 * paceWindow)
		return rebuilds() == before
	})
	before, start := rebuilds(), time.Now()
	for _, b := range all {
		b.client.SetDraining(true)
	}
	eventually(t, "all drain", draining)
	took := time.Since(start)
	if n := rebuilds() - before; n > 4*float64(took/paceWindow+2) {
		t.Errorf("%v rebuilds in %v", n, took)
	}
	if testutil.ToFloat64(p.opts.Metrics.Coalesced) == 0 {
		t.Error("no change was taken along by another's rebuild")
	}
}

// The clock jumps by an hour, in either direction: a sidecar that was lost stays as long as always, and nobody else goes.
func TestClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		p := startPlane(t, "", Options{})
		startBackend(t, "shop", "a1", p.address)
		a2 := startBackend(t, "shop", "a2", p.address)
		eventually(t, "both are there", func() bool { return len(p.members()) == 2 })
		a2.kill()
		eventually(t, "one is lost", func() bool { return p.server.Count(sidecarGroup) == 1 })
		now := time.Now().Add(jump)
		all, next := p.registry.view(now)
		if len(all) == 0 || all[0].Route != "a1" {
			t.Errorf("%v: %v are there", jump, all)
		}
		if jump < 0 && !next.IsZero() && next.Sub(now) > lossGrace {
			t.Errorf("%v: nothing is looked at for %v", jump, next.Sub(now))
		}
		eventually(t, "only one is left", func() bool { return slices.Equal(p.members(), []string{"a1"}) })
	}
}

// Two control planes that see different halves of the fleet: whichever a front follows serves every visitor from the half that it knows.
func TestEnvoyWithASplitFleet(t *testing.T) {
	envoyBinary(t)
	port := freePort(t)
	services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	one, two := startPlane(t, "", Options{Services: services}), startPlane(t, "", Options{Services: services})
	startBackend(t, "shop", "a1", one.address)
	startBackend(t, "shop", "a2", two.address)
	startEnvoy(t, Bootstrap{ControlPlanes: []string{one.address, two.address}, Delta: true})
	v := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port))
	eventually(t, "somebody serves", func() bool { status, _ := v.ask("GET", "/", ""); return status == 200 })
	its, other, half := one, two, "a2"
	if two.Fronting() == 1 {
		its, other, half = two, one, "a1"
	}
	stop := v.load(session("a1"))
	its.Leave()
	eventually(t, "envoy follows the other", func() bool { return other.Fronting() == 1 && its.Fronting() == 0 })
	v.until("/", session("a1"), half)
	if failed, all := stop(); failed > 0 || all == 0 {
		t.Errorf("%d of %d requests failed", failed, all)
	}
}

// An address where nobody listens is a sidecar that gets no visitors; a visitor of its own goes to another one.
func TestEnvoyPassesByAnAddressThatIsDead(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		envoyBinary(t)
		port := freePort(t)
		services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
		p := startPlane(t, "", Options{Services: services})
		startBackend(t, "shop", "a1", p.address)
		dead := startBackend(t, "shop", "a2")
		_ = dead.server.Close()
		dead.register(nil, p.address)
		eventually(t, "both are registered", func() bool { return len(p.members()) == 2 })
		startEnvoy(t, Bootstrap{ControlPlanes: []string{p.address}, Delta: delta})
		v := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port))
		v.until("/", session("a1"), "a1")
		for i := range 40 {
			if status, body := v.ask([]string{"GET", "POST"}[i%2], "/", session([]string{"a1", "a2"}[i/2%2])); status != 200 || body != "a1" {
				t.Errorf("request %d: %d %s", i, status, body)
			}
		}
	})
}
