package xds

import (
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func valueString(s string) protoreflect.Value { return protoreflect.ValueOfString(s) }

// edited changes what an Any holds.
func edited[M proto.Message](packed *anypb.Any, into M, change func(M)) {
	if err := packed.UnmarshalTo(into); err != nil {
		panic(err)
	}
	change(into)
	if err := packed.MarshalFrom(into); err != nil {
		panic(err)
	}
}

func manager(change func(*hcm.HttpConnectionManager)) func(proto.Message) {
	return func(m proto.Message) {
		edited(m.(*listener.Listener).FilterChains[0].Filters[0].GetTypedConfig(), new(hcm.HttpConnectionManager), change)
	}
}

func firstRoute(change func(*route.Route)) func(proto.Message) {
	return func(m proto.Message) { change(m.(*route.RouteConfiguration).VirtualHosts[0].Routes[0]) }
}

func aCluster(change func(*cluster.Cluster)) func(proto.Message) {
	return func(m proto.Message) { change(m.(*cluster.Cluster)) }
}

// refusals are changes of a snapshot, and what the front says.
var refusals = []struct {
	typeURL string
	change  func(proto.Message)
	want    string
}{
	{resource.ListenerType, func(m proto.Message) { m.(*listener.Listener).UseOriginalDst = wrapperspb.Bool(true) }, `Listener "pillion-0.0.0.0-10000": use_original_dst is not supported`},
	{resource.ListenerType, func(m proto.Message) { m.(*listener.Listener).Address = socketAddress("localhost", 80) }, `address: "localhost" is no IP address`},
	{resource.ListenerType, func(m proto.Message) {
		l := m.(*listener.Listener)
		l.FilterChains = append(l.FilterChains, l.FilterChains[0])
	}, "filter_chains has 2 entries: only 1 is supported"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) { m.UseRemoteAddress = nil }), "filter_chains[0].filters[0].typed_config.use_remote_address is missing"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) { m.NormalizePath = wrapperspb.Bool(false) }), "typed_config.normalize_path is false: only true is supported"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) { m.MergeSlashes = true }), "typed_config.merge_slashes is not supported"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) {
		m.PathWithEscapedSlashesAction = hcm.HttpConnectionManager_REJECT_REQUEST
	}), `typed_config.path_with_escaped_slashes_action is "REJECT_REQUEST": only "KEEP_UNCHANGED" is supported`},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) {
		m.HttpFilters[0], m.HttpFilters[1] = m.HttpFilters[1], m.HttpFilters[0]
	}), "http_filters are Lua Compressor Router"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) {
		edited(m.HttpFilters[1].GetTypedConfig(), new(lua.Lua), func(l *lua.Lua) {
			l.DefaultSourceCode.Specifier = &core.DataSource_InlineString{InlineString: "function envoy_on_request(h) end"}
		})
	}), `http_filters[1].typed_config.default_source_code.inline_string is "function envoy`},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) { m.AccessLog[0].GetTypedConfig().Value = nil }), "access_log[0].typed_config is not the"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) {
		m.HttpFilters[2].GetTypedConfig().TypeUrl = "type.googleapis.com/envoy.config.core.v3.Metadata"
	}), "http_filters[2].typed_config: envoy.config.core.v3.Metadata is not supported"},
	{resource.ListenerType, manager(func(m *hcm.HttpConnectionManager) {
		m.ProtoReflect().SetUnknown(protoreflect.RawFields{0xf8, 0x3f, 1})
	}), "typed_config has fields of a newer version"},

	{resource.RouteType, func(m proto.Message) {
		m.(*route.RouteConfiguration).RequestHeadersToRemove = []string{"x"}
	}, `RouteConfiguration "pillion": request_headers_to_remove is not supported`},
	{resource.RouteType, func(m proto.Message) { m.(*route.RouteConfiguration).IgnorePortInHostMatching = false }, "ignore_port_in_host_matching is missing"},
	{resource.RouteType, func(m proto.Message) { m.(*route.RouteConfiguration).ResponseHeadersToRemove[0] = "server" }, `response_headers_to_remove is "server"`},
	{resource.RouteType, func(m proto.Message) { m.(*route.RouteConfiguration).VirtualHosts[0].Domains[0] = "shop.*" }, `virtual_hosts[0].domains: "shop.*"`},
	{resource.RouteType, firstRoute(func(r *route.Route) {
		r.Action = &route.Route_Redirect{Redirect: &route.RedirectAction{HostRedirect: "x"}}
	}), "virtual_hosts[0].routes[0].redirect is not supported"},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.GetRoute().PrefixRewrite = "/x" }), "routes[0].route.prefix_rewrite is not supported"},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.GetRoute().Timeout = nil }), "routes[0].route.timeout is missing"},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.GetRoute().RetryPolicy.RetryOn = "5xx" }), `retry_policy.retry_on is "5xx"`},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.GetRoute().RetryPolicy.PerTryTimeout = durationpb.New(time.Second) }), "retry_policy.per_try_timeout is not supported"},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.Match.Headers = nil }), `routes[0].route.retry_policy.retry_on has "reset" for methods that are not safe`},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.Match.Headers[0].GetStringMatch().GetSafeRegex().Regex = ".*" }), `safe_regex.regex is ".*"`},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.Match.CaseSensitive = wrapperspb.Bool(false) }), "match.case_sensitive is not supported"},
	{resource.RouteType, firstRoute(func(r *route.Route) { r.TypedPerFilterConfig["cors"] = r.TypedPerFilterConfig["lua"] }), `typed_per_filter_config["cors"] is not supported`},

	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.OutlierDetection = &cluster.OutlierDetection{} }), `Cluster "shop": outlier_detection is not supported`},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) {
		c.ClusterDiscoveryType = &cluster.Cluster_Type{Type: cluster.Cluster_STRICT_DNS}
	}), `type is "STRICT_DNS": only "EDS" is supported`},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.IgnoreHealthOnHostRemoval = false }), "ignore_health_on_host_removal is missing"},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.CommonLbConfig.HealthyPanicThreshold.Value = 50 }), "common_lb_config.healthy_panic_threshold is 50"},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.HealthChecks[0].Interval = durationpb.New(time.Minute) }), "health_checks[0].interval is 1m0s: only 1s is supported"},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.CircuitBreakers.Thresholds[0].MaxRequests.Value = 10 }), "circuit_breakers.thresholds[0].max_requests is below 65536"},
	{resource.ClusterType, aCluster(func(c *cluster.Cluster) { c.HealthChecks = nil }), "health_checks is missing"},

	{resource.EndpointType, func(m proto.Message) {
		m.(*endpoint.ClusterLoadAssignment).Endpoints[0].Priority = 1
	}, "endpoints[0].priority is not supported"},
	{resource.EndpointType, func(m proto.Message) {
		m.(*endpoint.ClusterLoadAssignment).Endpoints[0].LbEndpoints[0].HealthStatus = core.HealthStatus_DEGRADED
	}, `lb_endpoints[0].health_status is "DEGRADED"`},
}
