package xds

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compressor "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/compressor/v3"
	lua "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsconfig "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// What follows reads resources that fit their shape (front_shapes.go), and refuses values that a shape cannot tell.

// managed is what all listeners of a front have in common.
type managed struct {
	routes              string // name of the RouteConfiguration
	idle, headerTimeout time.Duration
	accessLog, compress bool
}

// listened is a Listener.
type listened struct {
	FrontListener
	secret string // name of its certificate, "" for plain TCP
	managed
}

// served is a Cluster.
type served struct {
	FrontApp
	assignment string // name of its ClusterLoadAssignment
}

func readListener(m *listener.Listener) (l listened, err error) {
	if l.Address, err = readAddress(m.GetAddress()); err != nil {
		return l, fmt.Errorf("address: %w", err)
	}
	l.Name = m.GetName()
	chain := m.GetFilterChains()[0]
	if socket := chain.GetTransportSocket(); socket != nil {
		context := new(tlsconfig.DownstreamTlsContext)
		if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
			return l, err
		}
		l.secret = context.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()[0].GetName()
	}
	manager := new(hcm.HttpConnectionManager)
	if err := chain.GetFilters()[0].GetTypedConfig().UnmarshalTo(manager); err != nil {
		return l, err
	}
	if l.managed, err = readManager(manager); err != nil {
		return l, err
	}
	l.Idle, l.HeaderTimeout, l.AccessLog = l.idle, l.headerTimeout, l.accessLog
	return l, nil
}

func readManager(m *hcm.HttpConnectionManager) (managed, error) {
	read := managed{
		routes: m.GetRds().GetRouteConfigName(), idle: m.GetCommonHttpProtocolOptions().GetIdleTimeout().AsDuration(),
		headerTimeout: m.GetRequestHeadersTimeout().AsDuration(), accessLog: len(m.GetAccessLog()) > 0,
	}
	var filters []string
	for _, f := range m.GetHttpFilters() {
		kind := shortType(f.GetTypedConfig().GetTypeUrl())
		read.compress = read.compress || kind == "Compressor"
		if kind == "Lua" && f.GetName() != luaFilter {
			return read, fmt.Errorf("http_filters: the Lua filter is named %q: only %q is supported", f.GetName(), luaFilter)
		}
		filters = append(filters, kind)
	}
	switch order := strings.Join(filters, " "); order {
	case "Compressor Lua Router", "Lua Router":
		return read, nil
	default:
		return read, fmt.Errorf("http_filters are %s: only Compressor, which may be left out, Lua and Router are supported, in this order", order)
	}
}

func readAddress(a *core.Address) (string, error) {
	ip, err := netip.ParseAddr(a.GetSocketAddress().GetAddress())
	if err != nil {
		return "", fmt.Errorf("%q is no IP address", a.GetSocketAddress().GetAddress())
	}
	return netip.AddrPortFrom(ip, uint16(a.GetSocketAddress().GetPortValue())).String(), nil
}

func readRoutes(m *route.RouteConfiguration) (hosts []FrontHost, err error) {
	hosts = []FrontHost{} // none are not the same as not told
	seen := map[string]bool{}
	for i, v := range m.GetVirtualHosts() {
		var routes []FrontRoute
		for j, r := range v.GetRoutes() {
			one, err := readRoute(r)
			if err != nil {
				return nil, fmt.Errorf("virtual_hosts[%d].routes[%d].%w", i, j, err)
			}
			routes = append(routes, one)
		}
		for _, domain := range v.GetDomains() {
			name := strings.ToLower(domain)
			if seen[name] || strings.LastIndexByte(name, '*') > 0 {
				return nil, fmt.Errorf("virtual_hosts[%d].domains: %q is there twice, or no NAME, *.NAME or *", i, domain)
			}
			seen[name] = true
			hosts = append(hosts, FrontHost{name, routes})
		}
	}
	return hosts, nil
}

var (
	methods     = regexp.MustCompile(`^[A-Z]+(\|[A-Z]+)*$`)
	safeMethods = []string{"GET", "HEAD", "OPTIONS"}
)

func readRoute(m *route.Route) (r FrontRoute, err error) {
	action, match := m.GetRoute(), m.GetMatch()
	r = FrontRoute{
		Prefix: match.GetPathSeparatedPrefix(), App: action.GetCluster(), Timeout: action.GetTimeout().AsDuration(),
		Retries: int(action.GetRetryPolicy().GetNumRetries().GetValue()), Lost: action.GetRetryPolicy().GetRetryOn() == safe,
	}
	if r.Prefix == "" {
		r.Prefix = match.GetPrefix()
	}
	if !strings.HasPrefix(r.Prefix, "/") {
		return r, errors.New("match has no prefix: only path_separated_prefix and prefix are supported")
	}
	if len(match.GetHeaders()) > 0 {
		regex := match.GetHeaders()[0].GetStringMatch().GetSafeRegex().GetRegex()
		if !methods.MatchString(regex) {
			return r, fmt.Errorf("match.headers[0].string_match.safe_regex.regex is %q: only methods with | are supported", regex)
		}
		r.Methods = strings.Split(regex, "|")
	}
	if unsafe := func(method string) bool { return !slices.Contains(safeMethods, method) }; r.Lost && (r.Methods == nil || slices.ContainsFunc(r.Methods, unsafe)) {
		return r, errors.New(`route.retry_policy.retry_on has "reset" for methods that are not safe: they would be executed twice`)
	}
	return r, r.readFilters(m.GetTypedPerFilterConfig())
}

// readFilters reads what filters are told on a route.
func (r *FrontRoute) readFilters(told map[string]*anypb.Any) error {
	r.Compress, r.Homes = true, map[string]string{}
	if packed := told["compressor"]; packed != nil {
		m := new(compressor.CompressorPerRoute)
		if err := packed.UnmarshalTo(m); err != nil {
			return err
		}
		r.Compress = !m.GetDisabled()
	}
	packed := told[luaFilter]
	if packed == nil {
		return nil
	}
	m := new(lua.LuaPerRoute)
	if err := packed.UnmarshalTo(m); err != nil {
		return err
	}
	for name, value := range m.GetFilterContext().GetFields() {
		text := value.GetStringValue()
		if name == ":cookie" {
			r.Cookie = text
			continue
		}
		if _, err := netip.ParseAddrPort(text); err != nil {
			return fmt.Errorf("typed_per_filter_config[%q].filter_context[%q] is %s: only IP:PORT is supported", luaFilter, name, quoted(text))
		}
		r.Homes[name] = text
	}
	return nil
}

func readCluster(m *cluster.Cluster) (c served, err error) {
	check := m.GetHealthChecks()[0]
	c.FrontApp = FrontApp{
		Name: m.GetName(), HealthPath: check.GetHttpHealthCheck().GetPath(), HealthTimeout: check.GetTimeout().AsDuration(),
		ConnectTimeout: m.GetConnectTimeout().AsDuration(),
	}
	if c.assignment = m.GetEdsClusterConfig().GetServiceName(); c.assignment == "" {
		c.assignment = m.GetName()
	}
	if socket := m.GetTransportSocket(); socket != nil {
		context := new(tlsconfig.UpstreamTlsContext)
		if err := socket.GetTypedConfig().UnmarshalTo(context); err != nil {
			return c, err
		}
		if c.TLS, err = readUpstream(context); err != nil {
			return c, fmt.Errorf("transport_socket: %w", err)
		}
	}
	return c, nil
}

// readUpstream reads what verify writes: the name in the certificate is the one that is asked for, or an address, which is not asked for.
func readUpstream(m *tlsconfig.UpstreamTlsContext) (*tls.Config, error) {
	validation := m.GetCommonTlsContext().GetValidationContext()
	name := validation.GetMatchTypedSubjectAltNames()[0].GetMatcher().GetExact()
	if _, err := netip.ParseAddr(name); m.GetSni() != name && (err != nil || m.GetSni() != "") {
		return nil, fmt.Errorf("sni is %q and the certificate's name %q: only one name for both is supported", m.GetSni(), name)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, RootCAs: x509.NewCertPool()}
	if !config.RootCAs.AppendCertsFromPEM(content(validation.GetTrustedCa())) {
		return nil, errors.New("trusted_ca holds no PEM certificate")
	}
	return config, nil
}

func readEndpoints(m *endpoint.ClusterLoadAssignment) ([]FrontBackend, error) {
	var all []FrontBackend
	for _, locality := range m.GetEndpoints() {
		for _, e := range locality.GetLbEndpoints() {
			address, err := readAddress(e.GetEndpoint().GetAddress())
			if err != nil {
				return nil, fmt.Errorf("endpoints: %w", err)
			}
			all = append(all, FrontBackend{Address: address, Draining: e.GetHealthStatus() == core.HealthStatus_DRAINING})
		}
	}
	return all, nil
}

func readSecret(m *tlsconfig.Secret) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(content(m.GetTlsCertificate().GetCertificateChain()), content(m.GetTlsCertificate().GetPrivateKey()))
	return &pair, err
}

func content(d *core.DataSource) []byte {
	if b := d.GetInlineBytes(); len(b) > 0 {
		return b
	}
	return []byte(d.GetInlineString())
}

// nameOf is a resource's own name.
func nameOf(m proto.Message) string {
	if a, ok := m.(*endpoint.ClusterLoadAssignment); ok {
		return a.GetClusterName()
	}
	named, _ := m.(interface{ GetName() string })
	return named.GetName()
}
