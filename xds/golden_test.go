package xds

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bootstrap "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/pillion-proxy/pillion/xds/server"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

func at(app, route, address string, change ...func(*member)) member {
	m := member{Sidecar: Sidecar{App: app, Space: app, Route: route, Address: address, Cookie: cookie}}
	for _, c := range change {
		c(&m)
	}
	return m
}

func draining(m *member) { m.Draining = true }
func hidden(m *member)   { m.Hidden = "a newer stream has this route" }

// goldens are services files and fleets; "" is no file.
var goldens = []struct {
	name, services string
	members        []member
}{
	{"one app", "", []member{at("shop", "a1", "10.0.0.1:8080"), at("shop", "a2", "10.0.0.2:8080", draining), at("shop", "a2", "10.0.0.9:8080", hidden)}},
	{"two apps", `
apps:
  shop: {hosts: [shop.example, "*.shop.example"], timeout: 30s}
  cart: {hosts: [shop.example], prefix: /cart, retries: 0, compress: false}
listeners: [{port: 80}, {port: 8080, address: "127.0.0.1"}]
`, []member{at("cart", "c1", "[fd00::1]:8080"), at("shop", "a1", "10.0.0.1:8080", func(m *member) { m.HealthPath = "/up" })}},
	{"nobody", "apps: {shop: {}}", nil},
}

func TestGolden(t *testing.T) {
	for _, tc := range goldens {
		t.Run(tc.name, func(t *testing.T) {
			got := golden(t, buildFrom(t, tc.services, tc.members))
			path := filepath.Join("testdata", "golden", tc.name+".json")
			if *update {
				write(t, path, string(got))
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s differs; look at what `go test ./xds -run Golden -update` changes", path)
			}
		})
	}
}

func buildFrom(t *testing.T, services string, members []member) server.Resources {
	t.Helper()
	path := ""
	if services != "" {
		path = servicesFile(t, services)
	}
	s, err := LoadServices(path)
	if err != nil {
		t.Fatal(err)
	}
	built, err := build(s, members)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// golden is all resources as JSON that does not depend on the version of protojson.
func golden(t *testing.T, built server.Resources) []byte {
	t.Helper()
	all := map[string]map[string]any{}
	for typeURL, resources := range built {
		for name, r := range resources {
			text, err := protojson.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			var value any
			if err := json.Unmarshal(text, &value); err != nil {
				t.Fatal(err)
			}
			if all[shortType(typeURL)] == nil {
				all[shortType(typeURL)] = map[string]any{}
			}
			all[shortType(typeURL)][name] = value
		}
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// Envoy itself judges what it would be sent, rendered as a static bootstrap.
func TestEnvoyValidates(t *testing.T) {
	binary := envoyBinary(t)
	ca := newAuthority(t)
	cert, key := ca.issue("site", "shop.example")
	secure := fmt.Sprintf("apps: {shop: {upstream_tls: {ca: %s, name: shop.internal}}}\nlisteners: [{port: 443, tls: {cert: %s, key: %s}}]\n", ca.file, cert, key)
	cases := append(slices.Clone(goldens), struct {
		name, services string
		members        []member
	}{"tls", secure, []member{at("shop", "a1", "10.0.0.1:8080")}})
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) { validateStatic(t, binary, static(t, buildFrom(t, tc.services, tc.members))) })
	}
	t.Run("bootstrap", func(t *testing.T) {
		for _, b := range []Bootstrap{
			{ControlPlanes: []string{"127.0.0.1:18000", "cp.example:18000"}, ID: "e", Admin: "127.0.0.1:9904", Delta: true},
			{ControlPlanes: []string{"127.0.0.1:18000"}, ID: "e", Admin: "127.0.0.1:9904", CA: ca.file, Cert: cert, Key: key, ServerName: "cp.example"},
		} {
			text, err := b.JSON()
			if err != nil {
				t.Fatal(err)
			}
			validateStatic(t, binary, text)
		}
	})
}

func validateStatic(t *testing.T, binary string, config []byte) {
	t.Helper()
	path := write(t, filepath.Join(t.TempDir(), "envoy.json"), string(config))
	if out, err := exec.Command(binary, "--mode", "validate", "--config-path", path, "--log-level", "error").CombinedOutput(); err != nil {
		t.Errorf("envoy --mode validate: %v\n%s\n%s", err, out, config)
	}
}

// static puts what would come over xDS into one file.
func static(t *testing.T, built server.Resources) []byte {
	t.Helper()
	resources := &bootstrap.Bootstrap_StaticResources{}
	for _, name := range slices.Sorted(maps.Keys(built[resource.ClusterType])) {
		c := proto.Clone(built[resource.ClusterType][name]).(*cluster.Cluster)
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STATIC}
		c.LoadAssignment = proto.Clone(built[resource.EndpointType][c.GetEdsClusterConfig().GetServiceName()]).(*endpoint.ClusterLoadAssignment)
		c.EdsClusterConfig = nil
		resources.Clusters = append(resources.Clusters, c)
	}
	for _, name := range slices.Sorted(maps.Keys(built[resource.ListenerType])) {
		l := proto.Clone(built[resource.ListenerType][name]).(*listener.Listener)
		filter := l.GetFilterChains()[0].GetFilters()[0]
		manager := new(hcm.HttpConnectionManager)
		if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
			t.Fatal(err)
		}
		manager.RouteSpecifier = &hcm.HttpConnectionManager_RouteConfig{RouteConfig: built[resource.RouteType][routeConfigName].(*route.RouteConfiguration)}
		p := packer{}
		filter.ConfigType = &listener.Filter_TypedConfig{TypedConfig: p.pack(manager)}
		if socket := l.GetFilterChains()[0].GetTransportSocket(); socket != nil {
			context := new(tls.DownstreamTlsContext)
			if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
				t.Fatal(err)
			}
			context.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
			context.CommonTlsContext.TlsCertificates = []*tls.TlsCertificate{built[resource.SecretType][name].(*tls.Secret).GetTlsCertificate()}
			l.FilterChains[0].TransportSocket = transportSocket(p.pack(context))
		}
		resources.Listeners = append(resources.Listeners, l)
	}
	text, err := protojson.Marshal(&bootstrap.Bootstrap{StaticResources: resources})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The same fleet is the same bytes, in whatever order it is seen, and a change of one app leaves the resources of the others alone.
func TestBuildIsAFunction(t *testing.T) {
	services := "apps: {shop: {}, cart: {hosts: [cart.example]}}"
	members := []member{at("cart", "c1", "10.0.0.3:1"), at("shop", "a1", "10.0.0.1:1"), at("shop", "a2", "10.0.0.2:1")}
	one := buildFrom(t, services, members)
	for range 5 {
		if !bytes.Equal(golden(t, one), golden(t, buildFrom(t, services, members))) {
			t.Fatal("two builds differ")
		}
	}
	members[1].Draining = true
	two := buildFrom(t, services, members)
	changed := map[string][]string{}
	for typeURL, resources := range two {
		for name, r := range resources {
			if !proto.Equal(r, one[typeURL][name]) {
				changed[shortType(typeURL)] = append(changed[shortType(typeURL)], name)
			}
		}
	}
	if len(changed) != 1 || len(changed["ClusterLoadAssignment"]) != 1 {
		t.Errorf("a drain changes %v", changed)
	}
}

func TestValidateRejects(t *testing.T) {
	good := func() server.Resources { return buildFrom(t, "", []member{at("shop", "a1", "10.0.0.1:1")}) }
	for name, spoil := range map[string]func(server.Resources){
		"a value out of range": func(r server.Resources) {
			r[resource.ClusterType]["shop"].(*cluster.Cluster).ConnectTimeout.Seconds = -int64(time.Second)
		},
		"an assignment that nobody asks for": func(r server.Resources) {
			r[resource.EndpointType]["x"] = &endpoint.ClusterLoadAssignment{ClusterName: "x"}
		},
		"a listener without its routes": func(r server.Resources) { delete(r[resource.RouteType], routeConfigName) },
	} {
		r := good()
		spoil(r)
		if err := validate(r); err == nil {
			t.Errorf("%s is valid", name)
		}
	}
}
