package xds

import (
	"testing"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsconfig "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
)

// The table names fields that there are: a name that is wrong would refuse what it is to allow.
func TestShapesNameFields(t *testing.T) {
	for _, m := range []proto.Message{&listener.Listener{}, &route.RouteConfiguration{}, &cluster.Cluster{}, &endpoint.ClusterLoadAssignment{}, &tlsconfig.Secret{}} {
		d := m.ProtoReflect().Descriptor()
		checkShape(t, string(d.Name()), frontShapes["type.googleapis.com/"+string(d.FullName())], d)
	}
}

func checkShape(t *testing.T, at string, s shape, d protoreflect.MessageDescriptor) {
	t.Helper()
	for name, r := range s {
		fd := d.Fields().ByName(name)
		if fd == nil {
			t.Errorf("%s has no field %s", at, name)
			continue
		}
		checkRule(t, at+"."+string(name), r, fd)
	}
}

func checkRule(t *testing.T, at string, r rule, fd protoreflect.FieldDescriptor) {
	t.Helper()
	switch r := r.(type) {
	case must:
		checkRule(t, at, r.rule, fd)
	case single:
		if !fd.IsList() {
			t.Errorf("%s is no list", at)
		}
		checkRule(t, at, r.rule, fd)
	case shape:
		checkShape(t, at, r, fd.Message())
	case byName:
		for key, inner := range r {
			checkRule(t, at+"."+key, inner, fd.MapValue())
		}
	case packed:
		for name, inner := range r {
			kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
			if err != nil {
				t.Errorf("%s: %s: %v", at, name, err)
				continue
			}
			checkShape(t, at+"<"+name+">", inner, kind.Descriptor())
		}
	}
}

// Whatever a control plane sends, the reader says yes or no.
func FuzzReadResource(f *testing.F) {
	var types []string
	for _, tc := range goldens[:1] {
		built, err := build(&Services{Listeners: []Listener{{Address: "0.0.0.0", Port: 1}}}, tc.members)
		if err != nil {
			f.Fatal(err)
		}
		for typeURL, named := range built {
			types = append(types, typeURL)
			for _, m := range named {
				text, err := proto.Marshal(m)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(typeURL, text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, typeURL string, text []byte) {
		for _, url := range append(types, typeURL) {
			if v, err := readResource(url, &anypb.Any{TypeUrl: url, Value: text}); err == nil && v == nil {
				t.Error("it is neither read nor refused")
			}
		}
	})
}
