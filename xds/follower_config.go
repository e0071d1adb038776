package xds

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsconfig "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// readResource reads one resource, or says what about it a front does not implement.
func readResource(typeURL string, packed *anypb.Any) (any, error) {
	s, known := frontShapes[typeURL]
	if !known {
		return nil, fmt.Errorf("%s was not asked for", typeURL)
	}
	m, err := packed.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	value, err := s.read(m)
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", shortType(typeURL), nameOf(m), err)
	}
	return value, nil
}

// read reads what fits the shape and keeps the rules of its type.
func (s shape) read(m proto.Message) (any, error) {
	if err := s.fits(m); err != nil {
		return nil, err
	}
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			return nil, err
		}
	}
	switch m := m.(type) {
	case *listener.Listener:
		return readListener(m)
	case *route.RouteConfiguration:
		return readRoutes(m)
	case *cluster.Cluster:
		return readCluster(m)
	case *endpoint.ClusterLoadAssignment:
		return readEndpoints(m)
	case *tlsconfig.Secret:
		return readSecret(m)
	}
	return nil, fmt.Errorf("%T was not asked for", m)
}

// apps are the apps that can be served. A cluster that changed is the old one until its assignment is there, as in Envoy; and one that is gone
// stays as long as routes lead to it, so that it does not matter which of the two comes first.
func (r received) apps(before map[string]FrontApp) (map[string]FrontApp, error) {
	if err := r.alike(); err != nil {
		return nil, err
	}
	apps := map[string]FrontApp{}
	for _, host := range r.hosts() {
		for _, one := range host.Routes {
			if app, ok := before[one.App]; ok {
				apps[one.App] = app
			}
		}
	}
	for name, c := range r[resource.ClusterType] {
		app := c.(served).FrontApp
		backends, ok := r[resource.EndpointType][c.(served).assignment]
		if app.Backends, _ = backends.([]FrontBackend); ok {
			apps[name] = app
		} else if old, ok := before[name]; ok {
			apps[name] = old
		}
	}
	return apps, nil
}

// alike holds the listeners to what a front has once.
func (r received) alike() error {
	var first *listened
	for _, name := range slices.Sorted(maps.Keys(r[resource.ListenerType])) {
		l := r[resource.ListenerType][name].(listened)
		if first == nil {
			first = &l
		} else if l.managed != first.managed {
			return fmt.Errorf("filter_chains[0].filters[0].typed_config of Listener %q differs from that of %q: only one for all listeners is supported", l.Name, first.Name)
		}
	}
	return nil
}

// hosts are those of the routes that the listeners name, nil before they are there.
func (r received) hosts() []FrontHost {
	for _, l := range r[resource.ListenerType] {
		hosts, _ := r[resource.RouteType][l.(listened).routes].([]FrontHost)
		return hosts
	}
	return nil
}

// complete tells whether a visitor could be served: there are routes, and the sidecars of each app are known.
func (r received) complete(apps map[string]FrontApp) bool {
	for name := range r[resource.ClusterType] {
		if _, ok := apps[name]; !ok {
			return false
		}
	}
	return r.hosts() != nil
}

// config is what the resources say, with those apps. Listeners are not opened before all is there.
func (r received) config(apps map[string]FrontApp, complete bool) FrontConfig {
	hosts := r.hosts()
	config := FrontConfig{Listeners: r.listeners(complete)}
	names := map[string]map[string]string{} // app -> address -> route
	compress := slices.ContainsFunc(slices.Collect(maps.Values(r[resource.ListenerType])), func(l any) bool { return l.(listened).compress })
	for _, host := range hosts {
		routes := slices.Clone(host.Routes)
		for i := range routes {
			routes[i].Compress = routes[i].Compress && compress
			if names[routes[i].App] == nil {
				names[routes[i].App] = map[string]string{}
			}
			for name, address := range routes[i].Homes {
				names[routes[i].App][address] = name
			}
		}
		config.Hosts = append(config.Hosts, FrontHost{host.Name, routes})
	}
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		app := apps[name]
		app.Backends = slices.Clone(app.Backends)
		for i, b := range app.Backends {
			app.Backends[i].Route = names[name][b.Address]
		}
		config.Apps = append(config.Apps, app)
	}
	return config
}

// listeners are those that can be served.
func (r received) listeners(complete bool) (all []FrontListener) {
	for _, l := range r[resource.ListenerType] {
		one := l.(listened)
		if one.secret != "" {
			one.Certificate, _ = r[resource.SecretType][one.secret].(*tls.Certificate)
		}
		if complete && (one.secret == "" || one.Certificate != nil) {
			all = append(all, one.FrontListener)
		}
	}
	slices.SortFunc(all, func(a, b FrontListener) int { return cmp.Compare(a.Name, b.Name) })
	return all
}
