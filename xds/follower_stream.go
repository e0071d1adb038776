package xds

import (
	"context"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/anypb"
)

// followed are the types that a front reads, in the order in which it asks: nothing is served that leads to what is not known yet.
var followed = []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.SecretType, resource.RouteType}

// maxResponse is more than anybody's routes. grpc's own bound of 4 MiB is met by 60 000 sidecars on one host or 6 000 on ten, and from there on
// nothing would arrive.
const maxResponse = 128 << 20

// following is a follower's stream to a control plane.
type following struct {
	*Follower
	stream     discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
	subscribed map[string]map[string]bool // by type, once it was asked for; wildcards have no names
	introduced bool                       // the node was said
}

// follow asks for all, and takes what comes until the stream ends.
func (f *Follower) follow(ctx context.Context, target string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+target,
		append(dialOptions(f.opts.TLS), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)))...)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	s := &following{Follower: f, stream: stream, subscribed: map[string]map[string]bool{}}
	if err := s.subscribe(); err != nil {
		return s.reason(err)
	}
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		f.connected(target)
		if err := s.answer(response); err != nil {
			return s.reason(err)
		}
		if err := s.subscribe(); err != nil {
			return s.reason(err)
		}
	}
}

// answer takes a response and says what became of it: an ACK means that it is in force.
func (s *following) answer(r *discovery.DeltaDiscoveryResponse) error {
	changed, versions := map[string]*anypb.Any{}, map[string]string{}
	for _, one := range r.GetResources() {
		changed[one.GetName()], versions[one.GetName()] = one.GetResource(), one.GetVersion()
	}
	request := &discovery.DeltaDiscoveryRequest{TypeUrl: r.GetTypeUrl(), ResponseNonce: r.GetNonce()}
	if err := s.take(r.GetTypeUrl(), changed, r.GetRemovedResources()); err != nil {
		request.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: oneLine(err)}
		return s.stream.Send(request)
	}
	known := s.versions[r.GetTypeUrl()]
	if known == nil {
		known = map[string]string{}
		s.versions[r.GetTypeUrl()] = known
	}
	maps.Copy(known, versions)
	for _, name := range r.GetRemovedResources() {
		delete(known, name)
	}
	return s.stream.Send(request)
}

// subscribe asks for what is wanted and was not asked for on this stream. The first request of a type says what is known already.
func (s *following) subscribe() error {
	for _, typeURL := range followed {
		wanted, known := s.wanted(typeURL), s.subscribed[typeURL]
		first := known == nil
		request := &discovery.DeltaDiscoveryRequest{TypeUrl: typeURL}
		if first {
			known = map[string]bool{}
			request.InitialResourceVersions = maps.Clone(s.versions[typeURL])
		}
		for _, name := range slices.Sorted(maps.Keys(wanted)) {
			if !known[name] {
				request.ResourceNamesSubscribe = append(request.ResourceNamesSubscribe, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(known)) {
			if !wanted[name] {
				request.ResourceNamesUnsubscribe = append(request.ResourceNamesUnsubscribe, name)
			}
		}
		all := wanted == nil && first
		if !all && len(request.GetResourceNamesSubscribe())+len(request.GetResourceNamesUnsubscribe()) == 0 {
			continue
		}
		if !s.introduced {
			request.Node, s.introduced = &core.Node{Id: s.opts.ID, Cluster: frontCluster, UserAgentName: "pillion"}, true
		}
		if err := s.stream.Send(request); err != nil {
			return err
		}
		if s.subscribed[typeURL] = wanted; wanted == nil {
			s.subscribed[typeURL] = map[string]bool{}
		}
	}
	return nil
}

// reason: a failed Send says io.EOF, and Recv says why.
func (s *following) reason(err error) error {
	for errors.Is(err, io.EOF) {
		if _, why := s.stream.Recv(); why != nil {
			return why
		}
	}
	return err
}

// firstTarget spreads fronts over the control planes.
func firstTarget(n int) int { return rand.IntN(n) }

func jittered(d time.Duration) time.Duration {
	return time.Duration((0.5 + rand.Float64()/2) * float64(d))
}
