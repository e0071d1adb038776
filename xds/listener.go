package xds

import (
	_ "embed"
	"fmt"

	accesslog "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	stream "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	gzip "github.com/envoyproxy/go-control-plane/envoy/extensions/compression/gzip/compressor/v3"
	compressor "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	router "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Listeners are constant: what changes with the fleet is in routes and endpoints. A changed listener drains its connections.

const routeConfigName = "pillion"

// stickyLua sends a visitor to the sidecar in the session id.
//
//go:embed sticky.lua
var stickyLua string

func (s *Services) listeners() (named, error) {
	all := named{}
	for _, l := range s.Listeners {
		built, err := l.resource()
		if err != nil {
			return nil, err
		}
		all[built.Name] = built
	}
	return all, nil
}

func (l Listener) name() string { return fmt.Sprintf("pillion-%s-%d", l.Address, l.Port) }

func (l Listener) resource() (*listener.Listener, error) {
	manager, err := connectionManager()
	if err != nil {
		return nil, err
	}
	p := packer{}
	chain := &listener.FilterChain{Filters: []*listener.Filter{{
		Name: "http", ConfigType: &listener.Filter_TypedConfig{TypedConfig: p.pack(manager)},
	}}}
	built := &listener.Listener{
		Name:                          l.name(),
		Address:                       socketAddress(l.Address, l.Port),
		FilterChains:                  []*listener.FilterChain{chain},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(32 << 10),
	}
	if l.TLS != nil {
		chain.TransportSocket = transportSocket(p.pack(&tls.DownstreamTlsContext{CommonTlsContext: &tls.CommonTlsContext{
			AlpnProtocols: []string{"h2", "http/1.1"},
			TlsParams:     &tls.TlsParameters{TlsMinimumProtocolVersion: tls.TlsParameters_TLSv1_2},
			TlsCertificateSdsSecretConfigs: []*tls.SdsSecretConfig{{
				Name: l.name(), SdsConfig: overADS(),
			}},
		}}))
	}
	return built, p.err
}

// secrets are the listeners' certificates: they change without the listener.
func (s *Services) secrets() named {
	all := named{}
	for _, l := range s.Listeners {
		if l.TLS == nil {
			continue
		}
		all[l.name()] = &tls.Secret{Name: l.name(), Type: &tls.Secret_TlsCertificate{TlsCertificate: &tls.TlsCertificate{
			CertificateChain: inline(l.TLS.cert), PrivateKey: inline(l.TLS.key),
		}}}
	}
	return all
}

func connectionManager() (*hcm.HttpConnectionManager, error) {
	p := packer{}
	filter := func(name string, config proto.Message) *hcm.HttpFilter {
		return &hcm.HttpFilter{Name: name, ConfigType: &hcm.HttpFilter_TypedConfig{TypedConfig: p.pack(config)}}
	}
	manager := &hcm.HttpConnectionManager{
		StatPrefix: "pillion",
		RouteSpecifier: &hcm.HttpConnectionManager_Rds{Rds: &hcm.Rds{
			RouteConfigName: routeConfigName, ConfigSource: overADS(),
		}},
		// The front is the edge: X-Forwarded-For of clients is not believed, paths are made unambiguous before they are matched.
		UseRemoteAddress:             wrapperspb.Bool(true),
		NormalizePath:                wrapperspb.Bool(true),
		PathWithEscapedSlashesAction: hcm.HttpConnectionManager_KEEP_UNCHANGED,
		ServerHeaderTransformation:   hcm.HttpConnectionManager_PASS_THROUGH,
		RequestHeadersTimeout:        durationpb.New(requestHeadersTimeout),
		CommonHttpProtocolOptions:    &core.HttpProtocolOptions{IdleTimeout: durationpb.New(downstreamIdle)},
		HttpFilters: []*hcm.HttpFilter{
			filter("compressor", compression(p.pack(&gzip.Gzip{}))),
			filter(luaFilter, &lua.Lua{DefaultSourceCode: &core.DataSource{Specifier: &core.DataSource_InlineString{InlineString: stickyLua}}}),
			filter("router", &router.Router{SuppressEnvoyHeaders: true}),
		},
		AccessLog: []*accesslog.AccessLog{{
			Name:       "stdout",
			ConfigType: &accesslog.AccessLog_TypedConfig{TypedConfig: p.pack(accessLog())},
		}},
	}
	return manager, p.err
}

// compression leaves alone what the app has encoded. It makes a strong ETag weak, where Envoy by itself would drop it: then a client can still
// ask whether its page is the newest.
func compression(library *anypb.Any) *compressor.Compressor {
	return &compressor.Compressor{
		CompressorLibrary:       &core.TypedExtensionConfig{Name: "gzip", TypedConfig: library},
		ResponseDirectionConfig: &compressor.Compressor_ResponseDirectionConfig{WeakenEtagOnCompress: true},
	}
}

// accessLog has no query and no cookie: both carry secrets.
func accessLog() *stream.StdoutAccessLog {
	fields := map[string]string{
		"time": "%START_TIME%", "method": "%REQ(:METHOD)%", "host": "%REQ(:AUTHORITY)%", "path": "%PATH(NQ)%", "protocol": "%PROTOCOL%",
		"status": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "details": "%RESPONSE_CODE_DETAILS%", "duration_ms": "%DURATION%",
		"bytes_in": "%BYTES_RECEIVED%", "bytes_out": "%BYTES_SENT%", "app": "%UPSTREAM_CLUSTER%", "sidecar": "%UPSTREAM_HOST%",
		"tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "request_id": "%REQ(X-REQUEST-ID)%",
	}
	format := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for name, value := range fields {
		format.Fields[name] = structpb.NewStringValue(value)
	}
	return &stream.StdoutAccessLog{AccessLogFormat: &stream.StdoutAccessLog_LogFormat{LogFormat: &core.SubstitutionFormatString{
		Format: &core.SubstitutionFormatString_JsonFormat{JsonFormat: format},
	}}}
}
