package xds

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	http "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

// xdsClusterName is Envoy's cluster of control planes.
const xdsClusterName = "pillion-control-plane"

// Bootstrap is what an Envoy is started with.
type Bootstrap struct {
	ControlPlanes []string // HOST:PORT; Envoy uses one of them
	ID            string   // names this Envoy among the fronts
	Admin         string   // IP:PORT of Envoy's own admin, best on loopback
	Delta         bool     // or state of the world
	CA            string   // PEM files as Envoy will find them; all "" for plain TCP
	Cert, Key     string
	ServerName    string // name in the control planes' certificate
}

// JSON returns the bootstrap in the form that Envoy reads from --config-path.
func (b Bootstrap) JSON() ([]byte, error) {
	admin, err := addressOf(b.Admin)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	planes, err := b.cluster()
	if err != nil {
		return nil, err
	}
	api := core.ApiConfigSource_GRPC
	if b.Delta {
		api = core.ApiConfigSource_DELTA_GRPC
	}
	built := &bootstrap.Bootstrap{
		Node:  &core.Node{Id: b.ID, Cluster: frontCluster},
		Admin: &bootstrap.Admin{Address: admin},
		DynamicResources: &bootstrap.Bootstrap_DynamicResources{
			LdsConfig: overADS(), CdsConfig: overADS(),
			AdsConfig: &core.ApiConfigSource{
				ApiType: api, TransportApiVersion: core.ApiVersion_V3, SetNodeOnFirstMessageOnly: true,
				GrpcServices: []*core.GrpcService{{TargetSpecifier: &core.GrpcService_EnvoyGrpc_{EnvoyGrpc: &core.GrpcService_EnvoyGrpc{ClusterName: xdsClusterName}}}},
			},
		},
		StaticResources: &bootstrap.Bootstrap_StaticResources{Clusters: []*cluster.Cluster{planes}},
	}
	if err := built.ValidateAll(); err != nil {
		return nil, err
	}
	return protojson.MarshalOptions{Multiline: true, Indent: "  "}.Marshal(built)
}

// cluster pings its control plane, so that one that is gone without a word is left within 8 s.
func (b Bootstrap) cluster() (*cluster.Cluster, error) {
	if len(b.ControlPlanes) == 0 {
		return nil, errors.New("name at least one control plane")
	}
	p := packer{}
	locality := &endpoint.LocalityLbEndpoints{}
	for _, target := range b.ControlPlanes {
		address, err := addressOf(target)
		if err != nil {
			return nil, fmt.Errorf("control plane: %w", err)
		}
		locality.LbEndpoints = append(locality.LbEndpoints, &endpoint.LbEndpoint{
			HostIdentifier: &endpoint.LbEndpoint_Endpoint{Endpoint: &endpoint.Endpoint{Address: address}},
		})
	}
	c := &cluster.Cluster{
		Name: xdsClusterName, ConnectTimeout: durationpb.New(connectTimeout), DnsLookupFamily: cluster.Cluster_V4_PREFERRED,
		ClusterDiscoveryType: &cluster.Cluster_Type{Type: cluster.Cluster_STRICT_DNS},
		LoadAssignment: &endpoint.ClusterLoadAssignment{
			ClusterName: xdsClusterName, Endpoints: []*endpoint.LocalityLbEndpoints{locality},
		},
		TypedExtensionProtocolOptions: map[string]*anypb.Any{
			"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": p.pack(&http.HttpProtocolOptions{
				UpstreamProtocolOptions: &http.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: &http.HttpProtocolOptions_ExplicitHttpConfig{
					ProtocolConfig: &http.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &core.Http2ProtocolOptions{
						ConnectionKeepalive: &core.KeepaliveSettings{Interval: durationpb.New(keepaliveInterval), Timeout: durationpb.New(keepaliveTimeout)},
					}},
				}},
			}),
		},
	}
	if b.CA != "" {
		c.TransportSocket = transportSocket(p.pack(b.tls()))
	}
	return c, p.err
}

func (b Bootstrap) tls() *tls.UpstreamTlsContext {
	file := func(path string) *core.DataSource {
		return &core.DataSource{Specifier: &core.DataSource_Filename{Filename: path}}
	}
	context := verify(b.ServerName, file(b.CA))
	context.CommonTlsContext.AlpnProtocols = []string{"h2"}
	context.CommonTlsContext.TlsCertificates = []*tls.TlsCertificate{{CertificateChain: file(b.Cert), PrivateKey: file(b.Key)}}
	return context
}

func addressOf(target string) (*core.Address, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("%q is not HOST:PORT", target)
	}
	return socketAddress(host, uint32(n)), nil
}
