// Package server serves xDS resources over gRPC and keeps account of who has accepted what. It knows what no resource means: any type, also
// google.protobuf.Struct, is served under any name.
//
//   - Aggregated (ADS) and per-type streams, state of the world and delta, on one gRPC server.
//   - Every node of a group gets the resources of that group; Set replaces all of them. Nothing is sent before the first Set.
//   - Versions are hashes of content, for each resource and each type. What did not change is not sent again, and two servers, or one
//     before and after a restart, name the same content alike.
//   - What a client answered is parked: the same content is never offered twice to one stream. Without this a state-of-the-world client
//     that rejects an update (NACK), or ignores it, is sent it again 24,000 times a second.
//   - A subscription to a type or name that is not there is answered when it is there.
//
// It stands on go-control-plane's servers and cache, whose cache runs with ads=false: with true, it silently starves clients that ask for
// some of the resources only.
package server

import (
	"context"
	"sync"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	secretservice "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/log"
	"github.com/envoyproxy/go-control-plane/pkg/server/config"
	"github.com/envoyproxy/go-control-plane/pkg/server/sotw/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
)

// Observer is told what clients do, on the goroutine of their stream: it must neither block nor call Set.
type Observer interface {
	// Request judges a request before anything is done for it; an error, best one of package status, ends the stream. node is nil when
	// the request repeats none.
	Request(s Stream, node *core.Node, typeURL string, names []string) error
	// Answered is told that a client accepted or rejected what it was sent.
	Answered(s Stream, a Answer)
	// Closed is told the end of a stream that made a request.
	Closed(s Stream)
}

// Options are what New needs.
type Options struct {
	Group     func(*core.Node) string
	Observer  Observer
	NamedOnly []string // types of which a client gets what it names, and never all
}

// Server is the serving layer. It is safe for concurrent use.
type Server struct {
	opts     Options
	ctx      context.Context
	cache    cache.SnapshotCache
	handlers xds.Server

	mu      sync.Mutex
	current map[string]*snapshot // by group
	streams map[string]*stream   // by id
	counts  map[string]int       // of streams, by group
	opened  uint64
}

// New returns a server whose streams end with ctx.
func New(ctx context.Context, opts Options) *Server {
	s := &Server{opts: opts, ctx: ctx, current: map[string]*snapshot{}, streams: map[string]*stream{}, counts: map[string]int{}}
	s.cache = cache.NewSnapshotCache(false, hash(opts.Group), log.NewDefaultLogger())
	s.handlers = xds.NewServer(ctx, s.cache, callbacks{s}, sotw.WithOrderedADS(), config.DeactivateLegacyWildcardForTypes(opts.NamedOnly))
	return s
}

// hash makes a group function what the cache wants.
type hash func(*core.Node) string

func (h hash) ID(node *core.Node) string { return h(node) }

// Register adds the discovery services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discovery.RegisterAggregatedDiscoveryServiceServer(r, s.handlers)
	listenerservice.RegisterListenerDiscoveryServiceServer(r, s.handlers)
	routeservice.RegisterRouteDiscoveryServiceServer(r, s.handlers)
	clusterservice.RegisterClusterDiscoveryServiceServer(r, s.handlers)
	endpointservice.RegisterEndpointDiscoveryServiceServer(r, s.handlers)
	secretservice.RegisterSecretDiscoveryServiceServer(r, s.handlers)
}

// Set replaces the resources of a group.
func (s *Server) Set(group string, resources Resources) error {
	return s.SetVersions(group, resources, nil)
}

// SetVersions is Set with versions of types that are not hashes of content: conformance suites count.
func (s *Server) SetVersions(group string, resources Resources, versions map[string]string) error {
	next, err := newSnapshot(resources)
	if err != nil {
		return err
	}
	for typeURL, version := range versions {
		if c := next.types[typeURL]; c != nil {
			c.version = version
		}
	}
	s.mu.Lock()
	s.current[group] = next
	s.mu.Unlock()
	return s.cache.SetSnapshot(s.ctx, group, next)
}

// Versions returns the version of each type of a group, nil before its first Set.
func (s *Server) Versions(group string) map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[group] == nil {
		return nil
	}
	versions := map[string]string{}
	for typeURL, c := range s.current[group].types {
		versions[typeURL] = c.version
	}
	return versions
}

// Resources returns what a group was given last. It must not be changed.
func (s *Server) Resources(group string) Resources {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current[group] == nil {
		return nil
	}
	return s.current[group].given
}

// settleTime is how long a stream may take until it asks for what it wants. A client may come with what another server told it.
const settleTime = time.Second

// Behind counts the streams that have not accepted a resource as it is now. A stream that has not asked for it counts while it is young.
func (s *Server) Behind(typeURL, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, st := range s.streams {
		current := s.current[st.Group].version(typeURL, name)
		if current == "" {
			continue
		}
		sent, acked, asked := st.has(typeURL, name)
		if asked && (sent != current || acked != current) || !asked && time.Since(st.Since) < settleTime {
			n++
		}
	}
	return n
}
