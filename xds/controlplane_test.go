package xds

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/prometheus/client_golang/prometheus/testutil"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

// raw is a delta stream whose every request the test writes itself.
type raw struct {
	t      *testing.T
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func dialRaw(t *testing.T, address string, secure *tls.Config) raw {
	t.Helper()
	creds := insecure.NewCredentials()
	if secure != nil {
		creds = credentials.NewTLS(secure)
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 6*within)
	t.Cleanup(cancel)
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return raw{t, stream}
}

func (r raw) ask(node *core.Node, typeURL string, names ...string) {
	_ = r.stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

func (r raw) next() *discovery.DeltaDiscoveryResponse {
	r.t.Helper()
	response, err := r.stream.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	return response
}

func (r raw) answer(response *discovery.DeltaDiscoveryResponse, problem string) {
	q := &discovery.DeltaDiscoveryRequest{TypeUrl: response.GetTypeUrl(), ResponseNonce: response.GetNonce()}
	if problem != "" {
		q.ErrorDetail = &statuspb.Status{Message: problem}
	}
	_ = r.stream.Send(q)
}

// refused waits for the end of the stream, and returns code and message.
func (r raw) refused() (codes.Code, string) {
	r.t.Helper()
	for {
		if _, err := r.stream.Recv(); err != nil {
			return status.Code(err), status.Convert(err).Message()
		}
	}
}

func front(id string) *core.Node { return &core.Node{Id: id, Cluster: "any"} }

func aSidecar(app, route, address string) Sidecar {
	return Sidecar{App: app, Space: app, Route: route, Address: address, Cookie: cookie}
}

// A client that says something wrong is told what, and hurts nobody else.
func TestRefusals(t *testing.T) {
	p := startPlane(t, "", Options{})
	good := startBackend(t, "shop", "a1", p.address)
	eventually(t, "the good one is there", func() bool { return len(p.members()) == 1 })
	broken := aSidecar("shop", "a2", "web:80").node()
	broken.Metadata.Fields["route"] = structpb.NewNumberValue(2)
	for name, tc := range map[string]struct {
		node  *core.Node
		names []string
		code  codes.Code
		want  string
	}{
		"malformed":         {broken, nil, codes.InvalidArgument, "route is not 1 to 32"},
		"no metadata":       {&core.Node{Cluster: sidecarCluster}, nil, codes.InvalidArgument, "app is missing"},
		"a second app":      {aSidecar("cart", "c1", "10.0.0.3:1").node(), nil, codes.FailedPrecondition, "--services"},
		"others' peers":     {aSidecar("shop", "a2", "10.0.0.3:1").node(), []string{"peers/cart"}, codes.PermissionDenied, "peers/cart is not for a2.shop"},
		"others' drain":     {aSidecar("shop", "a2", "10.0.0.3:1").node(), []string{"drain/a1"}, codes.PermissionDenied, "drain/a1"},
		"everything opaque": {aSidecar("shop", "a2", "10.0.0.3:1").node(), []string{"*"}, codes.InvalidArgument, "name the resources"},
		"no node":           {nil, nil, codes.InvalidArgument, "which node"},
	} {
		r := dialRaw(t, p.address, nil)
		r.ask(tc.node, opaqueType, tc.names...)
		if code, message := r.refused(); code != tc.code || !strings.Contains(message, tc.want) {
			t.Errorf("%s: %v %q", name, code, message)
		}
	}
	if n := testutil.ToFloat64(p.opts.Metrics.Refused.WithLabelValues("metadata")); n != 2 {
		t.Errorf("%v refused for metadata", n)
	}
	eventually(t, "the good one alone is served", func() bool { m := p.members(); return len(m) == 1 && m[0] == good.Sidecar.Route })
	view, err := json.Marshal(p.Registry())
	if err != nil || !strings.Contains(string(view), "app is missing") {
		t.Errorf("/registry does not show who was refused: %s, %v", view, err)
	}
}

func TestPlainIsForLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := New(l, Options{}); !errors.Is(err, ErrPlain) {
		t.Errorf("plain on all addresses: %v", err)
	}
	p := startPlane(t, "0.0.0.0:0", Options{Insecure: true})
	_, port, _ := net.SplitHostPort(p.address)
	r := dialRaw(t, "127.0.0.1:"+port, nil)
	r.ask(aSidecar("shop", "a1", "127.0.0.1:8080").node(), opaqueType)
	if code, message := r.refused(); code != codes.InvalidArgument || !strings.Contains(message, "advertise") {
		t.Errorf("a loopback endpoint: %v %q", code, message)
	}
}

func TestIdentities(t *testing.T) {
	ca := newAuthority(t)
	services := servicesFile(t, `
apps: {shop: {identities: ["spiffe://example/shop"]}, cart: {hosts: [cart.example]}}
fronts: ["spiffe://example/front"]
`)
	p := startPlane(t, "", Options{Services: services, TLS: ca.config("plane", "127.0.0.1")})
	a1, everything := aSidecar("shop", "a1", "10.0.0.1:1").node(), front("e")
	for i, tc := range []struct {
		names []string
		node  *core.Node
		code  codes.Code
	}{
		{[]string{"a1.shop"}, a1, codes.OK},
		{[]string{"*.shop"}, a1, codes.OK},
		{[]string{"spiffe://example/shop"}, a1, codes.OK},
		{[]string{"a2.shop"}, a1, codes.PermissionDenied},
		{[]string{"*.cart"}, a1, codes.PermissionDenied},
		{[]string{"spiffe://example/shop"}, aSidecar("cart", "c1", "10.0.0.1:1").node(), codes.PermissionDenied},
		{[]string{frontName}, everything, codes.OK},
		{[]string{"spiffe://example/front"}, everything, codes.OK},
		{[]string{"a1.shop"}, everything, codes.PermissionDenied}, // the listeners' private keys are not for sidecars
		{[]string{frontName}, a1, codes.PermissionDenied},
	} {
		r := dialRaw(t, p.address, ca.config(fmt.Sprintf("client-%d", i), tc.names...))
		if tc.node == everything {
			r.ask(tc.node, resource.ClusterType)
		} else {
			r.ask(tc.node, opaqueType, "peers/shop")
		}
		_, err := r.stream.Recv()
		if status.Code(err) != tc.code {
			t.Errorf("%v as %s: %v, want %v", tc.names, tc.node.GetId(), err, tc.code)
		}
	}
	stranger := newAuthority(t).config("x", frontName)
	stranger.RootCAs = ca.pool
	conn, err := tls.Dial("tcp", p.address, stranger)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // TLS 1.3 tells the client afterwards
	}
	if err == nil {
		t.Error("a certificate of another authority is taken")
	}
}

func TestSidecarReads(t *testing.T) {
	ring := "apps: {shop: {}}\nrings: {shop: [{name: n1, address: '10.0.0.1:11211', state: %s}, {name: n2, address: '10.0.0.2:11211'}]}\n"
	services := servicesFile(t, fmt.Sprintf(ring, "active"))
	p := startPlane(t, "", Options{Services: services})
	a1, a2 := startBackend(t, "shop", "a1", p.address), startBackend(t, "shop", "a2", p.address)
	eventually(t, "each knows both", func() bool {
		return len(a1.value("peers/shop").GetFields()) == 2 && len(a2.value("peers/shop").GetFields()) == 2
	})
	if got := a1.value("peers/shop").GetFields()["a2"].GetStructValue().GetFields()["address"].GetStringValue(); got != a2.Sidecar.Address {
		t.Errorf("a2 is at %s", got)
	}
	state := func() string {
		return a1.value("ring/shop").GetFields()["nodes"].GetListValue().GetValues()[0].GetStructValue().GetFields()["state"].GetStringValue()
	}
	eventually(t, "the ring is there", func() bool { return a1.value("ring/shop") != nil })
	if state() != "active" {
		t.Errorf("n1 is %s", state())
	}
	write(t, services, fmt.Sprintf(ring, "draining"))
	eventually(t, "n1 drains", func() bool { return state() == "draining" })
	write(t, services, "apps: {shop: {}}\n") // no ring any more: the last one stays
	eventually(t, "the file is read", func() bool { return len(p.services.Load().Rings) == 0 })
	a2.client.SetDraining(true)
	eventually(t, "later news come", func() bool {
		return a1.value("peers/shop").GetFields()["a2"].GetStructValue().GetFields()["draining"].GetBoolValue()
	})
	if state() != "draining" {
		t.Errorf("the ring went: n1 is %s", state())
	}
}

// What a sidecar cannot take is a NACK, and not taken.
func TestSidecarRejects(t *testing.T) {
	services := servicesFile(t, "apps: {shop: {}}\nrings: {shop: [{name: n1, address: 'h:1'}]}\n")
	p := startPlane(t, "", Options{Services: services})
	client, err := NewClient(ClientOptions{Targets: []string{p.address}, Sidecar: aSidecar("shop", "a1", "10.0.0.1:1"), Log: p.opts.Log,
		Changed: func(name string, _ *structpb.Struct) error {
			if name == "ring/shop" {
				return errors.New("h is nowhere")
			}
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); client.Run(ctx) }()
	defer func() { cancel(); <-done }()
	eventually(t, "it is counted", func() bool { return testutil.ToFloat64(p.opts.Metrics.NACKs.WithLabelValues("Struct")) == 1 })
	eventually(t, "it is told", func() bool { return strings.Contains(p.log.String(), "ring/shop: h is nowhere") })
	if away := client.Away(); len(away) != 0 {
		t.Errorf("away: %v", away)
	}
}

// A drain ends when each front that knows the app has acknowledged it, and not before.
func TestDrainWaitsForEachFront(t *testing.T) {
	p := startPlane(t, "", Options{})
	a1 := startBackend(t, "shop", "a1", p.address)
	eventually(t, "published", func() bool { return p.versions()["ClusterLoadAssignment"] != "" })
	open := func(id string) raw {
		r := dialRaw(t, p.address, nil)
		r.ask(front(id), resource.ClusterType)
		clusters := r.next()
		r.answer(clusters, "")
		for name := range p.server.Resources(frontGroup)[resource.EndpointType] {
			r.ask(nil, resource.EndpointType, name)
		}
		r.answer(r.next(), "")
		return r
	}
	one, two := open("one"), open("two")
	drained := make(chan error, 1)
	go func() { drained <- a1.client.Drain(t.Context()) }()
	fromOne, fromTwo := one.next(), two.next()
	one.answer(fromOne, "")
	eventually(t, "one has it", func() bool {
		_, assignment := assignmentOf(p)
		return p.server.Behind(resource.EndpointType, assignment) == 1
	})
	select {
	case err := <-drained:
		t.Fatalf("drained (%v) while a front still sends visitors", err)
	case <-time.After(2 * drainLook):
	}
	two.answer(fromTwo, "")
	select {
	case err := <-drained:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(within):
		t.Fatal("never drained")
	}
	if n := testutil.ToFloat64(p.opts.Metrics.Draining); n != 1 {
		t.Errorf("%v are draining", n)
	}
}

// assignmentOf returns the one app and the name of its assignment.
func assignmentOf(p *plane) (app, name string) {
	for assignment := range p.server.Resources(frontGroup)[resource.EndpointType] {
		app, _, _ = strings.Cut(assignment, "/")
		name = assignment
	}
	return app, name
}

// A front that rejects the drain, or is gone without a word, holds it up until the sidecar's own patience ends.
func TestDrainGivesUp(t *testing.T) {
	p := startPlane(t, "", Options{})
	a1 := startBackend(t, "shop", "a1", p.address)
	eventually(t, "published", func() bool { return p.versions()["ClusterLoadAssignment"] != "" })
	r := dialRaw(t, p.address, nil)
	_, assignment := assignmentOf(p)
	r.ask(front("e"), resource.EndpointType, assignment)
	r.answer(r.next(), "")
	eventually(t, "accepted", func() bool { return p.server.Behind(resource.EndpointType, assignment) == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := a1.client.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("drain: %v", err)
	}
	r.answer(r.next(), "no")
	eventually(t, "the NACK is counted once", func() bool {
		return testutil.ToFloat64(p.opts.Metrics.NACKs.WithLabelValues("ClusterLoadAssignment")) == 1
	})
	view, _ := json.Marshal(p.Fronts())
	if !strings.Contains(string(view), `"error":"no"`) || !strings.Contains(string(view), `"mode":"delta"`) {
		t.Errorf("/fronts: %s", view)
	}
}

func TestNothingIsPublishedInTheHoldOff(t *testing.T) {
	p := startPlane(t, "", Options{HoldOff: time.Second})
	startBackend(t, "shop", "a1", p.address)
	eventually(t, "registered", func() bool { return len(p.members()) == 1 })
	if v := p.versions(); len(v) > 0 {
		t.Errorf("published %v", v)
	}
	eventually(t, "published after it", func() bool { return p.versions()["Cluster"] != "" })
}

func TestSnapshotShowsNoPrivateKey(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("site", "shop.example")
	p := startPlane(t, "", Options{Services: servicesFile(t, fmt.Sprintf("apps: {shop: {}}\nlisteners: [{port: 443, tls: {cert: %s, key: %s}}]\n", cert, key))})
	eventually(t, "published", func() bool { return p.versions()["Secret"] != "" })
	view, err := json.Marshal(p.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(view), "certificateChain") || strings.Contains(string(view), "privateKey") {
		t.Errorf("%s", view)
	}
	if secret := p.server.Resources(frontGroup)[resource.SecretType]; !strings.Contains(fmt.Sprint(secret), "private_key") {
		t.Error("the view took the key from what is served")
	}
}
