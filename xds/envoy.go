package xds

import (
	"net/netip"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tls "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcher "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// What Envoy is told. docs/decisions/0005-go-control-plane.md says what happened without each of the settings.
const (
	luaFilter             = "lua" // the key of typed_per_filter_config is the filter's name
	requestHeadersTimeout = 10 * time.Second
	downstreamIdle        = 5 * time.Minute
	connectTimeout        = 500 * time.Millisecond
	upstreamIdle          = 30 * time.Second // less than the sidecar's limits.idle, or requests meet a closing connection
	healthInterval        = time.Second
	healthTimeout         = 500 * time.Millisecond
	defaultHealthPath     = "/.well-known/pillion/ready"
	manyAtOnce            = 65536
	lostAfter             = 20              // seconds after which a connection to a sidecar ends when nothing is acknowledged
	keepaliveInterval     = 5 * time.Second // of pings on the xDS connection, both ways
	keepaliveTimeout      = 3 * time.Second
)

// named are resources of one type by name.
type named = map[string]proto.Message

// packer wraps messages and keeps the first error.
type packer struct{ err error }

// pack marshals deterministically, or equal snapshots would have different versions.
func (p *packer) pack(m proto.Message) *anypb.Any {
	packed := new(anypb.Any)
	if err := anypb.MarshalFrom(packed, m, proto.MarshalOptions{Deterministic: true}); err != nil && p.err == nil {
		p.err = err
	}
	return packed
}

func overADS() *core.ConfigSource {
	return &core.ConfigSource{ResourceApiVersion: core.ApiVersion_V3, ConfigSourceSpecifier: &core.ConfigSource_Ads{Ads: &core.AggregatedConfigSource{}}}
}

func socketAddress(ip string, port uint32) *core.Address {
	return &core.Address{Address: &core.Address_SocketAddress{SocketAddress: &core.SocketAddress{
		Address: ip, PortSpecifier: &core.SocketAddress_PortValue{PortValue: port},
	}}}
}

func inline(content []byte) *core.DataSource {
	return &core.DataSource{Specifier: &core.DataSource_InlineBytes{InlineBytes: content}}
}

// verify is TLS to a server that has a certificate for name, a host name or an address.
func verify(name string, ca *core.DataSource) *tls.UpstreamTlsContext {
	kind, sni := tls.SubjectAltNameMatcher_DNS, name
	if _, err := netip.ParseAddr(name); err == nil {
		kind, sni = tls.SubjectAltNameMatcher_IP_ADDRESS, "" // RFC 6066, section 3: no literal addresses
	}
	return &tls.UpstreamTlsContext{Sni: sni, CommonTlsContext: &tls.CommonTlsContext{
		ValidationContextType: &tls.CommonTlsContext_ValidationContext{ValidationContext: &tls.CertificateValidationContext{
			TrustedCa: ca,
			MatchTypedSubjectAltNames: []*tls.SubjectAltNameMatcher{{
				SanType: kind, Matcher: &matcher.StringMatcher{MatchPattern: &matcher.StringMatcher_Exact{Exact: name}},
			}},
		}},
	}}
}

func transportSocket(config *anypb.Any) *core.TransportSocket {
	return &core.TransportSocket{Name: "tls", ConfigType: &core.TransportSocket_TypedConfig{TypedConfig: config}}
}
