package xds

import "github.com/envoyproxy/go-control-plane/pkg/resource/v3"

// frontShapes are all that `pillion front` implements of the resources that Envoy is given, by type. What is not here is refused (NACK).
var frontShapes = map[string]shape{
	resource.ListenerType: listenerShape,
	resource.RouteType:    routesShape,
	resource.ClusterType:  clusterShape,
	resource.EndpointType: endpointsShape,
	resource.SecretType:   secretShape,
}

var (
	adsShape     = shape{"resource_api_version": must{only{"V3"}}, "ads": must{shape{}}}
	addressShape = shape{"socket_address": must{shape{"address": read{}, "port_value": read{}}}}
	inlineShape  = shape{"inline_bytes": read{}, "inline_string": read{}}
)

var listenerShape = shape{
	"name": read{}, "address": must{addressShape},
	"filter_chains": must{single{shape{
		"filters": must{single{shape{
			"name":         moot("a label"),
			"typed_config": packed{"envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager": managerShape},
		}}},
		"transport_socket": shape{"name": moot("a label"), "typed_config": packed{
			"envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext": {"common_tls_context": must{shape{
				"alpn_protocols":                     must{only{"h2, http/1.1"}},
				"tls_params":                         shape{"tls_minimum_protocol_version": only{"TLSv1_2"}},
				"tls_certificate_sds_secret_configs": must{single{shape{"name": read{}, "sds_config": must{adsShape}}}},
			}}},
		}},
	}}},
	"per_connection_buffer_limit_bytes": moot("the engines stream with small buffers"),
}

var managerShape = shape{
	"stat_prefix":                      moot("metrics have names of their own"),
	"rds":                              must{shape{"route_config_name": read{}, "config_source": must{adsShape}}},
	"use_remote_address":               must{only{true}},
	"normalize_path":                   must{only{true}},
	"path_with_escaped_slashes_action": must{only{"KEEP_UNCHANGED"}},
	"server_header_transformation":     must{only{"PASS_THROUGH"}},
	"request_headers_timeout":          read{},
	"common_http_protocol_options":     shape{"idle_timeout": read{}},
	"http_filters": must{shape{"name": read{}, "typed_config": packed{
		"envoy.extensions.filters.http.compressor.v3.Compressor": {
			"compressor_library": shape{"name": moot("a label"), "typed_config": packed{
				"envoy.extensions.compression.gzip.compressor.v3.Gzip": {},
			}},
			"response_direction_config": must{shape{"weaken_etag_on_compress": must{only{true}}}},
		},
		"envoy.extensions.filters.http.lua.v3.Lua":       {"default_source_code": must{shape{"inline_string": must{only{stickyLua}}}}},
		"envoy.extensions.filters.http.router.v3.Router": {"suppress_envoy_headers": must{only{true}}},
	}}},
	"access_log": single{shape{"name": moot("a label"), "typed_config": same{accessLog()}}},
}

var routesShape = shape{
	"name":                         read{},
	"ignore_port_in_host_matching": must{only{true}},
	"response_headers_to_remove":   must{only{notExecuted}},
	"validate_clusters":            moot("a route whose app is not there is a 503"),
	"virtual_hosts": shape{"name": moot("a label"), "domains": read{}, "routes": shape{
		"name": moot("a label"),
		"match": must{shape{
			"path_separated_prefix": read{}, "prefix": only{"/"},
			"headers": single{shape{"name": must{only{":method"}}, "string_match": must{shape{"safe_regex": must{shape{"regex": read{}}}}}}},
		}},
		"route": must{shape{
			"cluster":         read{},
			"timeout":         must{read{}},
			"upgrade_configs": must{single{shape{"upgrade_type": only{"websocket"}}}},
			"retry_policy":    retryShape,
		}},
		"typed_per_filter_config": byName{
			luaFilter:    packed{"envoy.extensions.filters.http.lua.v3.LuaPerRoute": {"filter_context": read{}}},
			"compressor": packed{"envoy.extensions.filters.http.compressor.v3.CompressorPerRoute": {"disabled": read{}}},
		},
	}},
}

var retryShape = shape{
	"retry_on": must{oneOf{neverRan, safe}}, "num_retries": must{read{}},
	"retriable_headers": must{single{shape{"name": only{notExecuted}, "present_match": only{true}}}},
	"retry_host_predicate": must{single{shape{"name": moot("a label"), "typed_config": packed{
		"envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate": {},
	}}}},
	"host_selection_retry_max_attempts": moot("who was tried is not in the choice"),
	"retry_back_off":                    moot("another sidecar is asked, which needs no rest"),
}

var clusterShape = shape{
	"name": read{}, "type": must{only{"EDS"}}, "connect_timeout": read{},
	"eds_cluster_config": must{shape{"eds_config": must{adsShape}, "service_name": read{}}},
	"load_balancing_policy": must{shape{"policies": single{shape{"typed_extension_config": shape{"name": moot("a label"), "typed_config": packed{
		"envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin": {}, // the least loaded one, which is the next one among idle ones
	}}}}}},

	"ignore_health_on_host_removal": must{only{true}},
	"common_lb_config":              must{shape{"healthy_panic_threshold": must{only{1.0}}}},
	"health_checks": must{single{shape{
		"timeout": read{}, "interval": only{healthInterval}, "no_traffic_interval": must{only{healthInterval}},
		"unhealthy_threshold": only{uint32(2)}, "healthy_threshold": only{uint32(1)},
		"http_health_check": must{shape{"path": read{}}},
	}}},
	"upstream_connection_options": moot("what waits at a silent sidecar is given up by its probes"),
	"upstream_bind_config":        shape{"socket_options": moot("as above")},
	"circuit_breakers": must{shape{"thresholds": single{shape{
		"max_connections": must{atLeast{manyAtOnce}}, "max_pending_requests": must{atLeast{manyAtOnce}}, "max_requests": must{atLeast{manyAtOnce}},
		"max_retries": moot("each request has its own bound"),
	}}}},
	"typed_extension_protocol_options": byName{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": packed{
		"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
			"common_http_protocol_options": shape{"idle_timeout": atLeast{1.5}}, // the engines keep connections no longer than that
			"explicit_http_config":         must{shape{"http_protocol_options": must{shape{}}}},
		},
	}},
	"transport_socket": shape{"name": moot("a label"), "typed_config": packed{
		"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": {
			"sni": read{},
			"common_tls_context": must{shape{"validation_context": must{shape{
				"trusted_ca": must{inlineShape},
				"match_typed_subject_alt_names": must{single{shape{
					"san_type": oneOf{"DNS", "IP_ADDRESS"}, "matcher": must{shape{"exact": must{read{}}}},
				}}},
			}}}},
		},
	}},
}

var endpointsShape = shape{
	"cluster_name": read{},
	"endpoints": shape{
		"locality":              shape{},
		"load_balancing_weight": moot("one locality has all the weight"),
		"lb_endpoints": shape{
			"health_status": oneOf{"HEALTHY", "DRAINING"},
			"endpoint":      must{shape{"address": must{addressShape}}},
		},
	},
}

var secretShape = shape{
	"name":            read{},
	"tls_certificate": must{shape{"certificate_chain": must{inlineShape}, "private_key": must{inlineShape}}},
}
