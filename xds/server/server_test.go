package server_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/xds/server"
)

const (
	opaque = "type.googleapis.com/google.protobuf.Struct"
	within = 5 * time.Second
	quiet  = 150 * time.Millisecond // that nothing comes is believed after
)

// watcher is an Observer that notes what it is told.
type watcher struct {
	mu      sync.Mutex
	answers []server.Answer
	closed  int
	refuse  error
}

func (w *watcher) Request(server.Stream, *core.Node, string, []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refuse
}

func (w *watcher) Answered(_ server.Stream, a server.Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, a)
}

func (w *watcher) Closed(server.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed++
}

func (w *watcher) seen() (answers []server.Answer, closed int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append(answers, w.answers...), w.closed
}

// start serves on a real port; the group of a node is its cluster.
func start(t *testing.T) (*server.Server, *watcher, discovery.AggregatedDiscoveryServiceClient) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{}
	s := server.New(t.Context(), server.Options{
		Group: func(n *core.Node) string { return n.GetCluster() }, Observer: w, NamedOnly: []string{opaque},
	})
	g := grpc.NewServer()
	s.Register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return s, w, discovery.NewAggregatedDiscoveryServiceClient(conn)
}

// client is one stream, of either protocol, with requests and responses of one shape.
type client interface {
	// ask subscribes; nil names keep what was asked before.
	ask(typeURL string, names ...string)
	// answer says yes, or no for a reason, to the last response.
	answer(r response, problem string)
	// next waits for a response.
	next() response
	// silent fails when a response comes, or the end of the stream.
	silent()
	// nothing fails when a response comes.
	nothing()
	close()
}

type response struct {
	typeURL, nonce, version string
	names                   []string
	removed                 []string
}

var node = &core.Node{Id: "e1", Cluster: "front"}

type stream[Q, R any] interface {
	Send(Q) error
	Recv() (R, error)
}

// pump reads a stream into a channel.
func pump[Q, R any](t *testing.T, s stream[Q, R], convert func(R) response) chan response {
	out := make(chan response, 64)
	go func() {
		defer close(out)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			select {
			case out <- convert(r):
			case <-t.Context().Done():
				return
			}
		}
	}()
	return out
}

type base struct {
	t      *testing.T
	in     chan response
	cancel context.CancelFunc
}

func (b base) close() { b.cancel() }

func (b base) next() response {
	b.t.Helper()
	select {
	case r, ok := <-b.in:
		if !ok {
			b.t.Fatal("the stream ended")
		}
		return r
	case <-time.After(within):
		b.t.Fatal("no response")
	}
	return response{}
}

func (b base) silent() {
	b.t.Helper()
	select {
	case r, ok := <-b.in:
		b.t.Fatalf("got %+v (%t), want nothing", r, ok)
	case <-time.After(quiet):
	}
}

func (b base) nothing() {
	b.t.Helper()
	if r, ok := b.within(quiet); ok {
		b.t.Fatalf("got %+v, want nothing", r)
	}
}

// within returns a response that comes in that time.
func (b base) within(d time.Duration) (response, bool) {
	select {
	case r, ok := <-b.in:
		return r, ok
	case <-time.After(d):
		return response{}, false
	}
}

type sotw struct {
	base
	stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	asked  map[string][]string
	acked  map[string]string
}

func newSotw(t *testing.T, c discovery.AggregatedDiscoveryServiceClient) client {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.StreamAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	in := pump(t, s, func(r *discovery.DiscoveryResponse) response {
		converted := response{typeURL: r.GetTypeUrl(), nonce: r.GetNonce(), version: r.GetVersionInfo()}
		for _, any := range r.GetResources() {
			converted.names = append(converted.names, nameOf(t, any.GetTypeUrl(), any.GetValue()))
		}
		return converted
	})
	return &sotw{base{t, in, cancel}, s, map[string][]string{}, map[string]string{}}
}

func nameOf(t *testing.T, typeURL string, value []byte) string {
	switch typeURL {
	case resource.ClusterType:
		var c cluster.Cluster
		if err := proto.Unmarshal(value, &c); err != nil {
			t.Error(err)
		}
		return c.GetName()
	case resource.EndpointType:
		var c endpoint.ClusterLoadAssignment
		if err := proto.Unmarshal(value, &c); err != nil {
			t.Error(err)
		}
		return c.GetClusterName()
	}
	return "?"
}

func (s *sotw) ask(typeURL string, names ...string) {
	s.asked[typeURL] = names
	_ = s.stream.Send(&discovery.DiscoveryRequest{Node: node, TypeUrl: typeURL, ResourceNames: names, VersionInfo: s.acked[typeURL]})
}

func (s *sotw) answer(r response, problem string) {
	q := &discovery.DiscoveryRequest{TypeUrl: r.typeURL, ResourceNames: s.asked[r.typeURL], ResponseNonce: r.nonce}
	if problem != "" {
		q.ErrorDetail = &statuspb.Status{Message: problem}
	} else {
		s.acked[r.typeURL] = r.version
	}
	q.VersionInfo = s.acked[r.typeURL]
	_ = s.stream.Send(q)
}

type delta struct {
	base
	stream   discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	versions chan string // of each resource
}

func newDelta(t *testing.T, c discovery.AggregatedDiscoveryServiceClient) client {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	versions := make(chan string, 64)
	in := pump(t, s, func(r *discovery.DeltaDiscoveryResponse) response {
		converted := response{typeURL: r.GetTypeUrl(), nonce: r.GetNonce(), version: r.GetSystemVersionInfo(), removed: r.GetRemovedResources()}
		for _, res := range r.GetResources() {
			converted.names = append(converted.names, res.GetName())
			versions <- res.GetVersion()
		}
		return converted
	})
	return &delta{base{t, in, cancel}, s, versions}
}

func (d *delta) ask(typeURL string, names ...string) {
	_ = d.stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL, ResourceNamesSubscribe: names})
}

func (d *delta) answer(r response, problem string) {
	q := &discovery.DeltaDiscoveryRequest{TypeUrl: r.typeURL, ResponseNonce: r.nonce}
	if problem != "" {
		q.ErrorDetail = &statuspb.Status{Message: problem}
	}
	_ = d.stream.Send(q)
}

// both runs a test in both protocols.
func both(t *testing.T, test func(t *testing.T, s *server.Server, w *watcher, open func() client)) {
	for name, open := range map[string]func(*testing.T, discovery.AggregatedDiscoveryServiceClient) client{"sotw": newSotw, "delta": newDelta} {
		t.Run(name, func(t *testing.T) {
			s, w, c := start(t)
			test(t, s, w, func() client { return open(t, c) })
		})
	}
}

func clusters(names ...string) server.Resources {
	all := map[string]proto.Message{}
	for _, name := range names {
		all[name] = &cluster.Cluster{Name: name}
	}
	return server.Resources{resource.ClusterType: all}
}

func slow(r server.Resources, name string, timeout time.Duration) server.Resources {
	r[resource.ClusterType][name].(*cluster.Cluster).ConnectTimeout = durationpb.New(timeout)
	return r
}

func text(s string) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{"text": structpb.NewStringValue(s)}}
}

func set(t *testing.T, s *server.Server, r server.Resources) {
	t.Helper()
	if err := s.Set("front", r); err != nil {
		t.Fatal(err)
	}
}

// eventually polls.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(within)
	for !is() {
		select {
		case <-deadline:
			t.Fatal("never: " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
