package xds

import (
	"context"
	"fmt"
	"net"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	grpcxds "google.golang.org/grpc/xds"

	"github.com/pillion-proxy/pillion/xds/server"
)

// The third client: grpc-go's own xDS resolver. It speaks state of the world, asks by name for what it needs, and takes the clusters and the
// endpoints that are made for Envoy; listener and route are its own kind.
func TestGRPCResolverFollowsTheFleet(t *testing.T) {
	services := &Services{given: true, Apps: map[string]App{"shop": {Hosts: []string{"*"}, Prefix: "/"}}}
	services.fillIn()
	one, two := startHealth(t), startHealth(t)
	member := func(route, address string) member { return member{Sidecar: aSidecar("shop", route, address)} }
	s := startServing(t)
	s.publish(services, member("a1", one))

	resolver, err := grpcxds.NewXDSResolverWithConfigForTesting(fmt.Appendf(nil,
		`{"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}]}], "node": {"id": "grpc-1"}}`, s.address))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///shop.example", grpc.WithResolvers(resolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	asked := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		var from peer.Peer
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from)); err != nil {
			return err.Error()
		}
		return from.Addr.String()
	}
	if got := asked(); got != one {
		t.Fatalf("%s answers, want %s", got, one)
	}
	s.publish(services, member("a1", one), member("a2", two))
	eventually(t, "the new one gets calls", func() bool { return asked() == two })
	draining := member("a1", one)
	draining.Draining = true
	s.publish(services, draining, member("a2", two))
	eventually(t, "the draining one gets none", func() bool {
		for range 10 {
			if asked() != two {
				return false
			}
		}
		return true
	})
	for _, stream := range s.server.Streams() {
		for typeURL, status := range stream.Types {
			if status.NACKs > 0 {
				t.Errorf("it rejects %s: %s", typeURL, status.Error)
			}
		}
	}
}

// serving is the serving layer alone, fed by hand.
type serving struct {
	t       *testing.T
	server  *server.Server
	address string
}

func startServing(t *testing.T) *serving {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{t: t, address: l.Addr().String()}
	s.server = server.New(ctx, server.Options{Group: groupOf, Observer: nobody{}})
	g := grpc.NewServer(grpc.StreamInterceptor(s.server.Intercept))
	s.server.Register(g)
	go func() { _ = g.Serve(l) }()
	t.Cleanup(func() { cancel(); g.Stop() })
	return s
}

type nobody struct{}

func (nobody) Request(server.Stream, *corev3.Node, string, []string) error { return nil }
func (nobody) Answered(server.Stream, server.Answer)                       {}
func (nobody) Closed(server.Stream)                                        {}

// publish serves what the control plane makes of these members, with the listener that a client of gRPC asks for.
func (s *serving) publish(services *Services, members ...member) {
	s.t.Helper()
	built, err := build(services, members)
	if err != nil {
		s.t.Fatal(err)
	}
	p := packer{}
	manager := p.pack(&hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{RouteConfigName: "grpc", ConfigSource: overADS()}},
		HttpFilters:    []*hcmv3.HttpFilter{{Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: p.pack(&routerv3.Router{})}}},
	})
	if p.err != nil {
		s.t.Fatal(p.err)
	}
	built[resource.ListenerType]["shop.example"] = &listenerv3.Listener{Name: "shop.example", ApiListener: &listenerv3.ApiListener{ApiListener: manager}}
	built[resource.RouteType]["grpc"] = &routev3.RouteConfiguration{Name: "grpc", VirtualHosts: []*routev3.VirtualHost{{
		Name: "shop", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "shop"}}},
		}},
	}}}
	if err := s.server.Set(frontGroup, built); err != nil {
		s.t.Fatal(err)
	}
}

func startHealth(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	healthpb.RegisterHealthServer(g, health.NewServer())
	go func() { _ = g.Serve(l) }()
	t.Cleanup(g.Stop)
	return l.Addr().String()
}
