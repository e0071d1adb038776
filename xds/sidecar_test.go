package xds

import (
	"strings"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

var someSidecar = Sidecar{
	App: "shop", Space: "shop", Route: "a1", Address: "10.0.0.1:8080", Cookie: cookie, Host: "web1", HealthPath: "/ready", Version: "v1.0", Draining: true,
}

func TestSidecarGoesOverTheWire(t *testing.T) {
	got, err := sidecarOf(someSidecar.node())
	if err != nil || got != someSidecar {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSidecarMistakes(t *testing.T) {
	for _, tc := range []struct {
		change func(*Sidecar)
		want   string // "" for none
	}{
		{func(*Sidecar) {}, ""},
		{func(s *Sidecar) { s.Host, s.HealthPath, s.Version = "", "", "" }, ""},
		{func(s *Sidecar) { s.Address = "[fd00::1]:8080" }, ""},
		{func(s *Sidecar) { s.App = "" }, "app is missing"},
		{func(s *Sidecar) { s.App = "Shop" }, "app is not"},
		{func(s *Sidecar) { s.Space = "a-b" }, "space is not"},
		{func(s *Sidecar) { s.Route = "a.b" }, "route is not"},
		{func(s *Sidecar) { s.Cookie = "a b" }, "cookie is not"},
		{func(s *Sidecar) { s.HealthPath = "x" }, "health_path is not"},
		{func(s *Sidecar) { s.Address = "web1:8080" }, "not IP:PORT"},
		{func(s *Sidecar) { s.Address = "10.0.0.1" }, "not IP:PORT"},
		{func(s *Sidecar) { s.Address = "10.0.0.1:0" }, "port 0"},
		{func(s *Sidecar) { s.Address = "0.0.0.0:8080" }, "nowhere"},
		{func(s *Sidecar) { s.Address = "[fe80::1%eth0]:8080" }, "not IP:PORT"},
	} {
		s := someSidecar
		tc.change(&s)
		_, err := sidecarOf(s.node())
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%+v: %v, want %q", s, err, tc.want)
		}
	}
	_, err := sidecarOf(&core.Node{Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		"app": structpb.NewNumberValue(3), "draining": structpb.NewStringValue("yes"),
	}}})
	for _, want := range []string{"app is not", "space is missing", "route is missing", "address is missing", "cookie is missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}

// Whatever is taken can be served: nobody's metadata may stop the publication for the others.
func FuzzSidecarOf(f *testing.F) {
	f.Add(protojson.Format(someSidecar.node().GetMetadata()))
	f.Add(`{"app":"a","space":"a","route":"r","address":"::1:80","cookie":"c"}`)
	services, err := LoadServices("")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, metadata string) {
		given := new(structpb.Struct)
		if protojson.Unmarshal([]byte(metadata), given) != nil {
			return
		}
		s, err := sidecarOf(&core.Node{Metadata: given})
		if err != nil {
			return
		}
		if again, err := sidecarOf(s.node()); err != nil || again != s {
			t.Fatalf("%+v came back as %+v, %v", s, again, err)
		}
		all := []member{{Sidecar: s}}
		resources, err := build(services, all)
		if err != nil {
			t.Fatalf("%+v was taken and cannot be served: %v", s, err)
		}
		for _, named := range []named{resources["type.googleapis.com/envoy.config.route.v3.RouteConfiguration"], peersOf(all), drainsOf(all, func(string) int { return 0 })} {
			for name, r := range named {
				if _, err := proto.Marshal(r); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
		}
	})
}

func TestMostCommon(t *testing.T) {
	for want, all := range map[string][]string{"": nil, "a": {"a"}, "b": {"b", "a", "b"}, "c": {"d", "c"}} {
		if got := mostCommon(all); got != want {
			t.Errorf("mostCommon(%v) = %q, want %q", all, got, want)
		}
	}
}
