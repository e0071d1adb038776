package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/xds/server"
)

// opaqueType is the type of what sidecars read.
const opaqueType = "type.googleapis.com/google.protobuf.Struct"

// errNobody: there is no app yet, and fronts keep what they have.
var errNobody = errors.New("xds: no app is known yet")

// build makes the resources of fronts from the services and the members. It is a pure function: control planes that see the same say
// the same. What it returns is validated.
func build(s *Services, members []member) (server.Resources, error) {
	fleets := s.fleets(members)
	if len(fleets) == 0 {
		return nil, errNobody
	}
	clusters, assignments := named{}, named{}
	for _, f := range fleets {
		c, err := f.clusterResource()
		if err != nil {
			return nil, err
		}
		name := c.GetEdsClusterConfig().GetServiceName()
		clusters[f.name], assignments[name] = c, f.endpoints(name)
	}
	routes, err := routeConfiguration(fleets)
	if err != nil {
		return nil, err
	}
	listeners, err := s.listeners()
	if err != nil {
		return nil, err
	}
	built := server.Resources{
		resource.ListenerType: listeners, resource.ClusterType: clusters, resource.EndpointType: assignments,
		resource.RouteType: named{routeConfigName: routes}, resource.SecretType: s.secrets(),
	}
	return built, validate(built)
}

// fleets are the apps to serve: those of the services file, also while nobody is there; without one, the app that is there.
func (s *Services) fleets(members []member) []fleetOf {
	apps := s.Apps
	if !s.given {
		apps = map[string]App{}
		if name := onlyApp(members); name != "" {
			apps[name] = App{Hosts: []string{"*"}, Prefix: "/"}
		}
	}
	var all []fleetOf
	for _, name := range slices.Sorted(maps.Keys(apps)) {
		f := fleetOf{name: name, app: apps[name], healthPath: defaultHealthPath}
		var cookies, paths []string
		for _, m := range members {
			if m.App == name && m.Hidden == "" {
				f.sidecars = append(f.sidecars, m)
				cookies = append(cookies, m.Cookie)
				if m.HealthPath != "" {
					paths = append(paths, m.HealthPath)
				}
			}
		}
		f.cookie = mostCommon(cookies)
		if path := mostCommon(paths); path != "" {
			f.healthPath = path
		}
		all = append(all, f)
	}
	return all
}

// onlyApp is the app of those that are connected, else of the newest that was lost.
func onlyApp(members []member) string {
	var newest member
	for _, m := range members {
		if m.Lost.IsZero() {
			return m.App
		}
		if m.number >= newest.number {
			newest = m
		}
	}
	return newest.App
}

// validate holds the resources to the rules of their types and to each other. Envoy would reject them, or worse, wait for what is missing.
func validate(built server.Resources) error {
	byType := map[resource.Type][]types.Resource{}
	for typeURL, all := range built {
		for name, r := range all {
			if v, ok := r.(interface{ ValidateAll() error }); ok {
				if err := v.ValidateAll(); err != nil {
					return fmt.Errorf("xds: %s %q is not valid: %w", typeURL, name, err)
				}
			}
			byType[typeURL] = append(byType[typeURL], r)
		}
	}
	snapshot, err := cache.NewSnapshot("", byType)
	if err != nil {
		return err
	}
	if err := snapshot.Consistent(); err != nil {
		return fmt.Errorf("xds: resources do not fit together: %w", err)
	}
	return nil
}

// peersOf are the resources peers/<app>: who is there, for the other sidecars of the app.
func peersOf(members []member) named {
	apps := map[string]map[string]any{}
	for _, m := range members {
		if m.Hidden != "" {
			continue
		}
		if apps[m.App] == nil {
			apps[m.App] = map[string]any{}
		}
		apps[m.App][m.Route] = map[string]any{"address": m.Address, "draining": m.Draining, "version": m.Version}
	}
	all := named{}
	for app, routes := range apps {
		all["peers/"+app] = mustStruct(routes)
	}
	return all
}

// ringsOf are the resources ring/<space>. A removed node is not in them: its entry in the services file keeps the name from being used again.
func (s *Services) ringsOf() named {
	all := named{}
	for space, nodes := range s.Rings {
		var list []any
		for _, n := range nodes {
			if n.State != "removed" {
				list = append(list, map[string]any{"name": n.Name, "address": n.Address, "state": n.State})
			}
		}
		all["ring/"+space] = mustStruct(map[string]any{"nodes": list})
	}
	return all
}

// drainsOf are the resources drain/<route>: whether visitors still come, and how many fronts still send them, which behind tells for an app.
func drainsOf(members []member, behind func(app string) int) named {
	waits := map[string]int{}
	for _, m := range members {
		if m.Draining && m.Lost.IsZero() {
			waits["drain/"+m.Route] = max(waits["drain/"+m.Route], behind(m.App)) // of two apps with one route, both count
		}
	}
	all := named{}
	for name, n := range waits {
		all[name] = mustStruct(map[string]any{"drained": n == 0, "behind": n})
	}
	return all
}

// mustStruct is for texts that were checked to be UTF-8, which is all that can fail.
func mustStruct(fields map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(fields)
	if err != nil {
		panic(err)
	}
	return s
}
