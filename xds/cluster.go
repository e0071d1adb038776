package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	roundrobin "github.com/envoyproxy/go-control-plane/envoy/extensions/load_balancing_policies/round_robin/v3"
	http "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	percent "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// fleetOf is one app and its sidecars that are served.
type fleetOf struct {
	name       string
	app        App
	sidecars   []member
	cookie     string
	healthPath string
}

// clusterResource is the app's cluster. Its settings:
//
//   - ignore_health_on_host_removal: a removed sidecar goes even while its health check passes, and comes back without a stale verdict.
//   - panic threshold 1: health is ignored only when nobody is healthy, rather than at half of the fleet.
//   - no_traffic_interval: Envoy's default of 60 s would leave a new app unchecked.
//   - circuit breakers: the defaults of 1024 requests and 3 retries are an outage at the first rush.
//   - keepalive and user timeout: a host that vanishes ends no connection, and a request would wait there for a quarter of an hour. The user timeout
//     also ends uploads that nobody reads for as long, which is why it is not shorter.
//   - no outlier detection: an app's own 500s must not eject the home of its sessions.
//   - the assignment is named after the cluster's content. Envoy holds a changed cluster back until it gets an assignment for it; one that
//     did not change itself would not be sent again, and after 15 s the cluster would start empty.
func (f fleetOf) clusterResource() (*cluster.Cluster, error) {
	p := packer{}
	unlimited := wrapperspb.UInt32(manyAtOnce)
	c := &cluster.Cluster{
		Name:                 f.name,
		ConnectTimeout:       durationpb.New(connectTimeout),
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_EDS},
		EdsClusterConfig:     &cluster.Cluster_EdsClusterConfig{EdsConfig: overADS()},
		LoadBalancingPolicy: &cluster.LoadBalancingPolicy{Policies: []*cluster.LoadBalancingPolicy_Policy{{
			TypedExtensionConfig: &core.TypedExtensionConfig{Name: "round_robin", TypedConfig: p.pack(&roundrobin.RoundRobin{})},
		}}},
		IgnoreHealthOnHostRemoval: true,
		CommonLbConfig:            &cluster.Cluster_CommonLbConfig{HealthyPanicThreshold: &percent.Percent{Value: 1}},
		HealthChecks: []*core.HealthCheck{{
			Timeout: durationpb.New(healthTimeout), Interval: durationpb.New(healthInterval), NoTrafficInterval: durationpb.New(healthInterval),
			UnhealthyThreshold: wrapperspb.UInt32(2), HealthyThreshold: wrapperspb.UInt32(1),
			HealthChecker: &core.HealthCheck_HttpHealthCheck_{HttpHealthCheck: &core.HealthCheck_HttpHealthCheck{Path: f.healthPath}},
		}},
		UpstreamConnectionOptions: &cluster.UpstreamConnectionOptions{TcpKeepalive: &core.TcpKeepalive{
			KeepaliveTime: wrapperspb.UInt32(lostAfter / 2), KeepaliveInterval: wrapperspb.UInt32(lostAfter / 4), KeepaliveProbes: wrapperspb.UInt32(2),
		}},
		UpstreamBindConfig: &core.BindConfig{SocketOptions: []*core.SocketOption{{
			Description: "TCP_USER_TIMEOUT of Linux", Level: 6, Name: 18, Value: &core.SocketOption_IntValue{IntValue: lostAfter * 1000}, State: core.SocketOption_STATE_PREBIND,
		}}},
		CircuitBreakers: &cluster.CircuitBreakers{Thresholds: []*cluster.CircuitBreakers_Thresholds{{
			MaxConnections: unlimited, MaxPendingRequests: unlimited, MaxRequests: unlimited, MaxRetries: wrapperspb.UInt32(1024),
		}}},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": p.pack(&http.HttpProtocolOptions{
				CommonHttpProtocolOptions: &core.HttpProtocolOptions{IdleTimeout: durationpb.New(upstreamIdle)},
				UpstreamProtocolOptions: &http.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &http.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &http.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{HttpProtocolOptions: &core.Http1ProtocolOptions{}},
				}},
			}),
		},
	}
	if t := f.app.UpstreamTLS; t != nil {
		c.TransportSocket = transportSocket(p.pack(verify(t.Name, inline(t.ca))))
	}
	sum := sha256.Sum256(p.pack(c).GetValue())
	c.EdsClusterConfig.ServiceName = f.name + "/" + hex.EncodeToString(sum[:4])
	return c, p.err
}

// endpoints is the app's assignment. A draining sidecar stays in it, as DRAINING: it gets no visitor, not even its own, and its requests end.
func (f fleetOf) endpoints(name string) *endpoint.ClusterLoadAssignment {
	// Envoy needs neither locality nor weight here; clients of gRPC pass over what has none.
	locality := &endpoint.LocalityLbEndpoints{Locality: &core.Locality{}, LoadBalancingWeight: wrapperspb.UInt32(1)}
	for _, s := range f.sidecars {
		at := netip.MustParseAddrPort(s.Address) // the registry takes no other
		health := core.HealthStatus_HEALTHY
		if s.Draining {
			health = core.HealthStatus_DRAINING
		}
		locality.LbEndpoints = append(locality.LbEndpoints, &endpoint.LbEndpoint{
			HealthStatus: health,
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{
				Address: socketAddress(at.Addr().String(), uint32(at.Port())),
			}},
		})
	}
	assignment := &endpoint.ClusterLoadAssignment{ClusterName: name}
	if len(locality.LbEndpoints) > 0 {
		assignment.Endpoints = []*endpoint.LocalityLbEndpoints{locality}
	}
	return assignment
}
