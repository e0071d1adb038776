package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

// simulatedFront subscribes as Envoy does, in delta ADS, accepts everything, and keeps what it needs to tell when it knew what.
type simulatedFront struct {
	conn   *grpc.ClientConn
	stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	cancel context.CancelFunc
	read   sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{}        // closed and replaced with each response
	states   map[string]string    // endpoint -> health
	by       map[string][]string  // assignment -> its endpoints
	drained  map[string]time.Time // endpoint -> when it was seen to drain
	last     time.Time
	names    []string // what came since forget: type and name
	bytes    int
	versions map[string]bool // of responses with endpoints: one for each push
}

func openFront(ctx context.Context, target, id string) (*simulatedFront, error) {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	f := &simulatedFront{conn: conn, cancel: cancel, changed: make(chan struct{}), states: map[string]string{}, by: map[string][]string{}, last: time.Now()}
	f.forget()
	if f.stream, err = discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx); err != nil {
		cancel()
		return nil, err
	}
	node := &core.Node{Id: id, Cluster: "simulated"}
	for _, typeURL := range []string{resource.ClusterType, resource.ListenerType} {
		if err := f.stream.Send(&discovery.DeltaDiscoveryRequest{Node: node, TypeUrl: typeURL}); err != nil {
			cancel()
			return nil, err
		}
	}
	if err := f.stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.RouteType, ResourceNamesSubscribe: []string{"pillion"}}); err != nil {
		cancel()
		return nil, err
	}
	f.read.Go(f.follow)
	return f, nil
}

// follow takes what comes until the stream ends.
func (f *simulatedFront) follow() {
	for {
		r, err := f.stream.Recv()
		if err != nil {
			return
		}
		assignments := f.take(r)
		answer := &discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
		if err := f.stream.Send(answer); err != nil {
			return
		}
		if len(assignments) > 0 {
			if err := f.stream.Send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: assignments}); err != nil {
				return
			}
		}
	}
}

// take notes a response and returns the assignments that it newly names.
func (f *simulatedFront) take(r *discovery.DeltaDiscoveryResponse) (assignments []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.last, f.bytes = now, f.bytes+proto.Size(r)
	for _, got := range r.GetResources() {
		f.names = append(f.names, shortType(r.GetTypeUrl())+" "+got.GetName())
		switch r.GetTypeUrl() {
		case resource.ClusterType:
			if name := assignmentOf(got); f.by[name] == nil {
				f.by[name] = []string{}
				assignments = append(assignments, name)
			}
		case resource.EndpointType:
			f.versions[r.GetSystemVersionInfo()] = true
			f.assign(got, now)
		}
	}
	close(f.changed)
	f.changed = make(chan struct{})
	return assignments
}

// assign replaces the endpoints of one assignment; f.mu is held.
func (f *simulatedFront) assign(got *discovery.Resource, now time.Time) {
	var a endpoint.ClusterLoadAssignment
	if got.GetResource().UnmarshalTo(&a) != nil {
		return
	}
	for _, old := range f.by[got.GetName()] {
		delete(f.states, old)
	}
	f.by[got.GetName()] = []string{}
	for _, locality := range a.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			at := e.GetEndpoint().GetAddress().GetSocketAddress()
			address := fmt.Sprintf("%s:%d", at.GetAddress(), at.GetPortValue())
			f.by[got.GetName()] = append(f.by[got.GetName()], address)
			f.states[address] = e.GetHealthStatus().String()
			if _, known := f.drained[address]; !known && e.GetHealthStatus() == core.HealthStatus_DRAINING {
				f.drained[address] = now
			}
		}
	}
}

// waitFor returns when the endpoint was seen to drain.
func (f *simulatedFront) waitFor(ctx context.Context, address string) (time.Time, error) {
	late := time.After(patience)
	for {
		f.mu.Lock()
		at, ok := f.drained[address]
		changed := f.changed
		f.mu.Unlock()
		if ok {
			return at, nil
		}
		select {
		case <-changed:
		case <-late:
			return at, fmt.Errorf("a front was never told of %s", address)
		case <-ctx.Done():
			return at, ctx.Err()
		}
	}
}

// knows is how many endpoints the front has that do not drain, and when something came last.
func (f *simulatedFront) knows() (n int, last time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, state := range f.states {
		if state != core.HealthStatus_DRAINING.String() {
			n++
		}
	}
	return n, f.last
}

// forget begins a new account of what comes.
func (f *simulatedFront) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names, f.bytes, f.drained, f.versions = nil, 0, map[string]time.Time{}, map[string]bool{}
}

func (f *simulatedFront) got() (names []string, bytes int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.names, f.bytes
}

func (f *simulatedFront) pushes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.versions)
}

func (f *simulatedFront) close() {
	f.cancel()
	_ = f.conn.Close()
	f.read.Wait()
}

// assignmentOf is the name under which a cluster's endpoints are asked for.
func assignmentOf(got *discovery.Resource) string {
	var c cluster.Cluster
	if got.GetResource().UnmarshalTo(&c) != nil {
		return ""
	}
	if name := c.GetEdsClusterConfig().GetServiceName(); name != "" {
		return name
	}
	return c.GetName()
}

// shortType is the last word of a type URL.
func shortType(typeURL string) string { return typeURL[strings.LastIndexAny(typeURL, "./")+1:] }
