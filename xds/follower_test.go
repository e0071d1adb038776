package xds

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds/server"
)

// frontDouble follows control planes and keeps what it was told.
type frontDouble struct {
	*Follower
	stop func()

	mu     sync.Mutex
	config FrontConfig
	refuse error
	held   chan struct{} // while it is not nil, Apply waits
}

func startFollower(t *testing.T, targets ...string) *frontDouble {
	t.Helper()
	return startFollowerWith(t, FollowerOptions{Targets: targets, ID: "front-1"})
}

func startFollowerWith(t *testing.T, o FollowerOptions) *frontDouble {
	t.Helper()
	f := &frontDouble{}
	o.Apply, o.Metrics, o.Log = f.apply, metrics.NewFollower(prometheus.NewRegistry()), slog.New(slog.DiscardHandler)
	var err error
	if f.Follower, err = NewFollower(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	return f
}

func (f *frontDouble) apply(c FrontConfig) error {
	f.mu.Lock()
	held := f.held
	f.mu.Unlock()
	if held != nil {
		<-held
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.config = c
	return nil
}

func (f *frontDouble) now() FrontConfig {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.config
}

// fleet is the apps' sidecars as text.
func (f *frontDouble) fleet() string {
	var all []string
	for _, app := range f.now().Apps {
		for _, b := range app.Backends {
			text := app.Name + " " + b.Route
			if b.Draining {
				text += " draining"
			}
			all = append(all, text)
		}
	}
	return strings.Join(all, ", ")
}

// What Envoy is given in every golden snapshot a front implements.
func TestFrontReadsEverySnapshot(t *testing.T) {
	for _, tc := range goldens {
		for typeURL, named := range buildFrom(t, tc.services, tc.members) {
			for name, m := range named {
				packed, err := anypb.New(m)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := readResource(typeURL, packed); err != nil {
					t.Errorf("%s: %s: %v", tc.name, name, err)
				}
			}
		}
	}
}

// Each field of the snapshot counts: one that is changed, or that is left out where its default is another, is refused by its name, or is read, or
// stands in the table as one without effect.
func TestFrontRefusesByName(t *testing.T) {
	built := buildFrom(t, "apps: {shop: {}}", []member{at("shop", "a1", "10.0.0.1:8080")})
	for _, tc := range refusals {
		m := proto.Clone(slices.Collect(maps.Values(built[tc.typeURL]))[0])
		tc.change(m)
		packed, err := anypb.New(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := readResource(tc.typeURL, packed); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("want %q, got %v", tc.want, err)
		}
	}
}

func TestFollowerFollows(t *testing.T) {
	services := write(t, filepath.Join(t.TempDir(), "services.yaml"), `
apps:
  shop: {hosts: [shop.example, "*.shop.example"], timeout: 30s}
  cart: {hosts: [shop.example], prefix: /cart, retries: 0, compress: false}
listeners: [{port: 8001, address: 127.0.0.1}]
`)
	p := startPlane(t, "", Options{Services: services})
	a1 := startBackend(t, "shop", "a1", p.address)
	c1 := startBackend(t, "cart", "c1")
	c1.Sidecar.Space = "shop" // they have hosts and a cookie in common
	c1.register(nil, p.address)
	f := startFollower(t, p.address)
	eventually(t, "both are there", func() bool { return f.fleet() == "cart c1, shop a1" })
	want := FrontConfig{
		Listeners: []FrontListener{{Name: "pillion-127.0.0.1-8001", Address: "127.0.0.1:8001", Idle: downstreamIdle, HeaderTimeout: requestHeadersTimeout, AccessLog: true}},
		Apps: []FrontApp{
			{Name: "cart", HealthPath: "/ready", HealthTimeout: healthTimeout, ConnectTimeout: connectTimeout, Backends: []FrontBackend{{Route: "c1", Address: c1.Sidecar.Address}}},
			{Name: "shop", HealthPath: "/ready", HealthTimeout: healthTimeout, ConnectTimeout: connectTimeout, Backends: []FrontBackend{{Route: "a1", Address: a1.Sidecar.Address}}},
		},
	}
	route := func(app, prefix string, timeout time.Duration, retries int, compress bool, homes map[string]string) (pair []FrontRoute) {
		r := FrontRoute{Prefix: prefix, App: app, Cookie: cookie, Homes: homes, Timeout: timeout, Retries: retries, Compress: compress}
		first := r
		first.Methods, first.Lost = safeMethods, true
		return []FrontRoute{first, r}
	}
	shop := route("shop", "/", 30*time.Second, defaultRetries, true, map[string]string{"a1": a1.Sidecar.Address})
	cart := route("cart", "/cart", 0, 0, false, map[string]string{"c1": c1.Sidecar.Address})
	want.Hosts = []FrontHost{{"*.shop.example", shop}, {"shop.example", append(cart, shop...)}}
	if got := f.now(); !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
	if view := fmt.Sprint(p.Fronts()); !strings.Contains(view, "front-1") || !strings.Contains(view, "delta") {
		t.Errorf("/fronts: %s", view)
	}

	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if err := a1.client.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if got := f.fleet(); got != "cart c1, shop a1 draining" { // not later: the drain was acknowledged
		t.Error(got)
	}
	a1.kill()
	eventually(t, "a1 is gone", func() bool { return f.fleet() == "cart c1" })

	write(t, services, "apps: {shop: {}}\nlisteners: [{port: 8001, address: 127.0.0.1}]\n")
	eventually(t, "the app is gone", func() bool { c := f.now(); return len(c.Apps) == 1 && len(c.Hosts) == 1 && c.Hosts[0].Name == "*" })
}

// The drain is acknowledged when it is in force, not when it was read.
func TestFollowerAcknowledgesWhatIsInForce(t *testing.T) {
	p := startPlane(t, "", Options{})
	a1 := startBackend(t, "shop", "a1", p.address)
	f := startFollower(t, p.address)
	eventually(t, "a1 is there", func() bool { return f.fleet() == "shop a1" })
	f.mu.Lock()
	f.held = make(chan struct{})
	f.mu.Unlock()
	soon, cancel := context.WithTimeout(t.Context(), 3*drainLook)
	defer cancel()
	if err := a1.client.Drain(soon); err == nil {
		t.Error("acknowledged before it was in force")
	}
	close(f.held)
	if err := a1.client.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// A front keeps the last good configuration when its control plane says what it does not implement, or dies; it follows the next one.
func TestFollowerKeepsTheLastGood(t *testing.T) {
	p, other := startPlane(t, "", Options{}), startPlane(t, "", Options{})
	startBackend(t, "shop", "a1", p.address, other.address)
	f := startFollower(t, p.address)
	eventually(t, "a1 is there", func() bool { return f.fleet() == "shop a1" && len(f.now().Listeners) == 1 })
	good := f.now()

	built := cloned(p.server.Resources(frontGroup))
	for _, m := range built[resource.ClusterType] {
		m.ProtoReflect().Set(m.ProtoReflect().Descriptor().Fields().ByName("alt_stat_name"), valueString("x"))
	}
	eventually(t, "it says no", func() bool {
		if err := p.server.Set(frontGroup, built); err != nil { // again: the publisher may have said something in between
			t.Fatal(err)
		}
		return strings.Contains(f.Status().Rejected["Cluster"], "alt_stat_name is not supported")
	})
	eventually(t, "and the control plane shows it", func() bool { return strings.Contains(fmt.Sprintf("%+v", p.Fronts()), "alt_stat_name is not supported") })
	if !reflect.DeepEqual(f.now(), good) {
		t.Error("it changed")
	}
	if n := testutil.ToFloat64(f.opts.Metrics.Rejections.WithLabelValues("Cluster")); n == 0 || testutil.ToFloat64(f.opts.Metrics.Following) != 1 {
		t.Errorf("%v rejections are counted", n)
	}
	f.stop()

	f = startFollower(t, p.address, other.address)
	eventually(t, "it follows one of both", func() bool { return f.Status().Connected })
	its := map[string]*plane{p.address: p, other.address: other}[f.Status().ControlPlane]
	its.stop()
	eventually(t, "it follows the other", func() bool { s := f.Status(); return s.Connected && s.ControlPlane != its.address })
	a2 := startBackend(t, "shop", "a2", other.address, p.address)
	eventually(t, "a2 is there", func() bool { return strings.HasSuffix(f.fleet(), "shop a2") })
	if err := a2.client.Drain(t.Context()); err != nil { // the dead one is not waited for
		t.Error(err)
	}
	if got := f.fleet(); !strings.HasSuffix(got, "shop a2 draining") {
		t.Error(got)
	}
}

// A configuration of more than grpc's 4 MiB arrives.
func TestFollowerOfALargeFleet(t *testing.T) {
	const sidecars = 25_000
	p := startPlane(t, "", Options{})
	var members []member
	for i := range sidecars {
		members = append(members, at("shop", fmt.Sprintf("route-%05d", i), fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255)))
	}
	built := buildFrom(t, "apps: {shop: {hosts: [a.example, b.example, c.example]}}", members)
	if size := proto.Size(built[resource.RouteType][routeConfigName]); size < 4<<20 {
		t.Fatalf("routes of %d bytes show nothing", size)
	}
	if err := p.server.Set(frontGroup, built); err != nil {
		t.Fatal(err)
	}
	f := startFollower(t, p.address)
	eventually(t, "all are there", func() bool {
		c := f.now()
		return len(c.Listeners) == 1 && len(c.Apps) == 1 && len(c.Apps[0].Backends) == sidecars && len(c.Hosts[0].Routes[0].Homes) == sidecars
	})
}

func cloned(all server.Resources) server.Resources {
	copied := server.Resources{}
	for typeURL, named := range all {
		copied[typeURL] = map[string]proto.Message{}
		for name, m := range named {
			copied[typeURL][name] = proto.Clone(m)
		}
	}
	return copied
}

// With TLS both show certificates: the front's has the name pillion-front.
func TestFollowerTLS(t *testing.T) {
	a := newAuthority(t)
	p := startPlane(t, "", Options{TLS: a.config("plane", "127.0.0.1")})
	a1 := startBackend(t, "shop", "a1")
	a1.register(a.config("a1", "a1.shop"), p.address)
	follow := func(name string) *frontDouble {
		return startFollowerWith(t, FollowerOptions{Targets: []string{p.address}, TLS: a.config(name, name), ID: name})
	}
	good, bad := follow(frontName), follow("a1.shop")
	eventually(t, "a front follows", func() bool { return good.fleet() == "shop a1" })
	eventually(t, "a sidecar's certificate is no front's", func() bool { return strings.Contains(bad.Status().Trouble, "this certificate is no front's") })
	if bad.fleet() != "" {
		t.Error(bad.fleet())
	}
}
