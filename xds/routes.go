package xds

import (
	"cmp"
	"maps"
	"slices"
	"time"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compressor "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	previous "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// notExecuted is the field by which a sidecar says that the app was sent nothing: another sidecar may be asked.
const notExecuted = "pillion-not-executed"

// What is tried again on another sidecar. neverRan holds only for requests that no app has seen, so that it is right for a POST too;
// safe adds connections that broke under way, for methods that change nothing.
const (
	neverRan = "connect-failure,refused-stream,reset-before-request,retriable-headers"
	safe     = neverRan + ",reset"
)

// routeConfiguration has a virtual host for each host, and in it two routes for each app: safe methods first.
func routeConfiguration(fleets []fleetOf) (*route.RouteConfiguration, error) {
	byHost := map[string][]fleetOf{}
	for _, f := range fleets {
		for _, host := range f.app.Hosts {
			byHost[host] = append(byHost[host], f)
		}
	}
	p := &packer{}
	config := &route.RouteConfiguration{
		Name: routeConfigName, IgnorePortInHostMatching: true, ResponseHeadersToRemove: []string{notExecuted},
		ValidateClusters: wrapperspb.Bool(false), // routes may arrive before their clusters
	}
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		served := byHost[host]
		slices.SortStableFunc(served, func(a, b fleetOf) int { // the most specific prefix first
			return cmp.Or(cmp.Compare(len(b.app.Prefix), len(a.app.Prefix)), cmp.Compare(a.name, b.name))
		})
		virtual := &route.VirtualHost{Name: host, Domains: []string{host}}
		for _, f := range served {
			virtual.Routes = append(virtual.Routes, f.route(p, "safe", safe), f.route(p, "other", neverRan))
		}
		config.VirtualHosts = append(config.VirtualHosts, virtual)
	}
	return config, p.err
}

func (f fleetOf) route(p *packer, kind, retryOn string) *route.Route {
	retries := uint32(defaultRetries)
	if f.app.Retries != nil {
		retries = uint32(*f.app.Retries)
	}
	r := &route.Route{
		Name:  f.name + "-" + kind,
		Match: f.match(kind == "safe"),
		Action: &route.Route_Route{Route: &route.RouteAction{
			ClusterSpecifier: &route.RouteAction_Cluster{Cluster: f.name},
			Timeout:          durationpb.New(time.Duration(f.app.Timeout)), // 0: none, Envoy's default of 15 s cuts streams
			UpgradeConfigs:   []*route.RouteAction_UpgradeConfig{{UpgradeType: "websocket"}},
			RetryPolicy:      retryPolicy(p, retryOn, retries),
		}},
		TypedPerFilterConfig: map[string]*anypb.Any{luaFilter: p.pack(&lua.LuaPerRoute{FilterContext: f.context()})},
	}
	if f.app.Compress != nil && !*f.app.Compress {
		r.TypedPerFilterConfig["compressor"] = p.pack(&compressor.CompressorPerRoute{Override: &compressor.CompressorPerRoute_Disabled{Disabled: true}})
	}
	return r
}

func (f fleetOf) match(safeOnly bool) *route.RouteMatch {
	m := &route.RouteMatch{PathSpecifier: &route.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: f.app.Prefix}}
	if f.app.Prefix == "/" { // which Envoy takes as a prefix only
		m.PathSpecifier = &route.RouteMatch_Prefix{Prefix: "/"}
	}
	if safeOnly {
		m.Headers = []*route.HeaderMatcher{{Name: ":method", HeaderMatchSpecifier: &route.HeaderMatcher_StringMatch{StringMatch: &matcher.StringMatcher{
			MatchPattern: &matcher.StringMatcher_SafeRegex{SafeRegex: &matcher.RegexMatcher{Regex: "GET|HEAD|OPTIONS"}},
		}}}}
	}
	return m
}

// context is flat, a key for each route: a nested table would be turned into Lua values for every request.
func (f fleetOf) context() *structpb.Struct {
	fields := map[string]*structpb.Value{":cookie": structpb.NewStringValue(f.cookie)}
	for _, s := range f.sidecars {
		fields[s.Route] = structpb.NewStringValue(s.Address)
	}
	return &structpb.Struct{Fields: fields}
}

func retryPolicy(p *packer, retryOn string, retries uint32) *route.RetryPolicy {
	return &route.RetryPolicy{
		RetryOn: retryOn, NumRetries: wrapperspb.UInt32(retries),
		RetriableHeaders: []*route.HeaderMatcher{{Name: notExecuted, HeaderMatchSpecifier: &route.HeaderMatcher_PresentMatch{PresentMatch: true}}},
		RetryHostPredicate: []*route.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &route.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: p.pack(&previous.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: 5,
		RetryBackOff: &route.RetryPolicy_RetryBackOff{
			BaseInterval: durationpb.New(25 * time.Millisecond), MaxInterval: durationpb.New(250 * time.Millisecond),
		},
	}
}
