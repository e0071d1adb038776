package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sidecar"
)

// frontSettings are what a front was told. It has nothing to do with the settings of a sidecar: it holds no keys and knows no ring.
type frontSettings struct {
	handler            func(*sidecar.Front) head.Handler // what the engine drives
	listen, admin      string
	planes             []string
	id                 string
	backends           []string
	cookie, healthPath string
	sticky, compress   bool
	tlsCert, tlsKey    string
	trusted            []string
	timeout, linger    time.Duration

	planeCA, planeCert, planeKey string

	fleet    []sidecar.Backend // backends, read
	networks []netip.Prefix    // trusted, read
}

// hungUpstream is how long a sidecar may take to answer where each route has a time of its own, which may be none: as Envoy's idle timeout of
// streams, it ends what would hang for ever.
const hungUpstream = 5 * time.Minute

func newFrontCommand(e env, handler func(*sidecar.Front) head.Handler) *cobra.Command {
	s := frontSettings{handler: handler}
	cmd := &cobra.Command{
		Use:   "front",
		Short: "Balance visitors over sidecars: each goes back to the one that holds the session",
		Long: "A front knows who has a session from the session's id, and asks each sidecar once a second whether it wants visitors. A request that\n" +
			"reached nobody goes on to another sidecar; a GET, HEAD or OPTIONS also when its sidecar died with it.\n" +
			"It follows a control plane, which tells it what it tells Envoy: listeners, certificates, hosts, apps and their sidecars. Or it has a\n" +
			"static list of the sidecars of one app.",
		Example: "  pillion front --control-plane 10.100.0.20:18000 --control-plane 10.100.0.21:18000\n  pillion front --listen :80 --backends a1=10.100.0.20:8080 --backends a2=10.100.0.21:8080\n" +
			"  pillion front --listen :443 --tls-cert /etc/pillion/tls.pem --tls-key /etc/pillion/tls.key --backends a1=10.100.0.20:8080,a2=10.100.0.21:8080",
		Args: arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.parse(cmd.Flags().Changed); err != nil {
				return usageError{cmd, err}
			}
			return runFront(cmd.Context(), s, e)
		},
	}
	s.flags(cmd.Flags())
	return cmd
}

func (s *frontSettings) flags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	flags.StringVar(&s.listen, "listen", ":8000", "`address` for visitors; port 0 takes a free one. With a control plane: in place of its listener's")
	flags.StringSliceVar(&s.planes, "control-plane", nil, "`address` of a control plane to follow; give all of them")
	flags.StringVar(&s.planeCA, "control-plane-tls-ca", "", "PEM `file` with the certificates that sign the control planes'")
	flags.StringVar(&s.planeCert, "control-plane-tls-cert", "", "PEM `file` with this front's certificate, which has the name pillion-front")
	flags.StringVar(&s.planeKey, "control-plane-tls-key", "", "PEM `file` with its private key")
	flags.StringVar(&s.id, "id", "", "`name` of this front at its control plane, by default that of the machine")
	flags.StringSliceVar(&s.backends, "backends", nil, "the `sidecars`, without a control plane: ROUTE=HOST:PORT, the route and the data address of each")
	flags.StringVar(&s.cookie, "cookie", "__Host-psid", "`name` of the session cookie, the sidecars' session.cookie")
	flags.BoolVar(&s.sticky, "sticky", true, "false: sessions are shared, and each request goes to the least loaded sidecar")
	flags.BoolVar(&s.compress, "compress", true, "false: send answers as the apps give them, also to clients that would take gzip or zstd")
	flags.StringVar(&s.tlsCert, "tls-cert", "", "PEM certificate chain for visitors, a `file`; read again at SIGHUP")
	flags.StringVar(&s.tlsKey, "tls-key", "", "its private key, a `file`")
	flags.StringSliceVar(&s.trusted, "trusted-proxies", nil, "`networks` whose X-Forwarded-* fields are kept; those of others are replaced")
	flags.StringVar(&s.healthPath, "health-path", "/.well-known/pillion/ready", "`path` of the sidecars' health, and of this front's own")
	flags.StringVar(&s.admin, "admin", "127.0.0.1:9902", "`address` for health, ready, status, metrics and profiles; empty for none")
	flags.DurationVar(&s.timeout, "upstream-timeout", 75*time.Second, "how long a sidecar may take to answer; longer than its own upstream_timeout. With a control plane 5m, beside the routes' own")
	flags.DurationVar(&s.linger, "drain-linger", 200*time.Millisecond, "how long the port stays open after the health path began to answer 503")
}

// staticOnly are the flags that say what a control plane would.
var staticOnly = []string{"backends", "cookie", "sticky", "compress", "tls-cert", "tls-key"}

// parse reads what is more than text, and finds all mistakes at once.
func (s *frontSettings) parse(given func(flag string) bool) error {
	var mistakes []error
	for _, text := range s.backends {
		b, err := parseBackend(text)
		if err == nil && slices.ContainsFunc(s.fleet, func(other sidecar.Backend) bool { return other.Route == b.Route }) {
			err = fmt.Errorf("--backends: the route %s is given twice", b.Route)
		}
		s.fleet, mistakes = append(s.fleet, b), append(mistakes, err)
	}
	if len(s.planes) > 0 {
		mistakes = append(mistakes, s.parseFollower(given)...)
	} else if len(s.backends) == 0 {
		mistakes = append(mistakes, errors.New("--control-plane is missing; or name the sidecars themselves, for example --backends a1=10.100.0.20:8080"))
	}
	for _, text := range s.trusted {
		network, err := parseNetwork(text)
		s.networks, mistakes = append(s.networks, network), append(mistakes, err)
	}
	if !strings.HasPrefix(s.healthPath, "/") {
		mistakes = append(mistakes, fmt.Errorf("--health-path: %q does not begin with /", s.healthPath))
	}
	if s.cookie == "" || strings.ContainsAny(s.cookie, "=;, \t\"") {
		mistakes = append(mistakes, fmt.Errorf("--cookie: %q is no name of a cookie", s.cookie))
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		mistakes = append(mistakes, errors.New("--tls-cert and --tls-key come together"))
	}
	return errors.Join(mistakes...)
}

// parseFollower sets what is otherwise with a control plane.
func (s *frontSettings) parseFollower(given func(flag string) bool) (mistakes []error) {
	for _, flag := range staticOnly {
		if given(flag) {
			mistakes = append(mistakes, fmt.Errorf("--%s does not go with --control-plane, which says it", flag))
		}
	}
	for _, plane := range s.planes {
		if host, port, err := net.SplitHostPort(plane); err != nil || host == "" || port == "" {
			mistakes = append(mistakes, fmt.Errorf("--control-plane: %q is not HOST:PORT", plane))
		}
	}
	if !given("listen") {
		s.listen = ""
	}
	if !given("upstream-timeout") {
		s.timeout = hungUpstream
	}
	if s.id == "" {
		host, err := os.Hostname()
		s.id, mistakes = host, append(mistakes, err)
	}
	return mistakes
}

// certificate reads that of --tls-cert, nil without one.
func (s *frontSettings) certificate() (*tls.Certificate, error) {
	if s.tlsCert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(s.tlsCert, s.tlsKey)
	if err != nil {
		return nil, hinted{fmt.Errorf("tls: %w", err), "--tls-cert wants the chain, the server's own certificate first, and --tls-key its key, both as PEM"}
	}
	return &pair, nil
}

// site is what a static list serves: one app, on every host.
func (s *frontSettings) site() sidecar.Site {
	r := sidecar.Route{Prefix: "/", Homes: map[string]string{}, Retries: sidecar.AnyRetries, Lost: true, Compress: s.compress}
	if s.sticky {
		r.Cookie = s.cookie
	}
	for _, b := range s.fleet {
		r.Homes[b.Route] = b.Address
	}
	return sidecar.Site{
		Hosts: []sidecar.Host{{Name: "*", Routes: []sidecar.Route{r}}},
		Apps:  []sidecar.App{{HealthPath: s.healthPath, Backends: s.fleet}},
	}
}

func parseBackend(text string) (sidecar.Backend, error) {
	route, address, _ := strings.Cut(text, "=")
	host, port, err := net.SplitHostPort(address)
	n, _ := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || n == 0 || !ring.ValidRoute(route) {
		return sidecar.Backend{}, fmt.Errorf("--backends: %q is no sidecar: ROUTE=HOST:PORT", text)
	}
	return sidecar.Backend{Route: route, Address: address}, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return network, fmt.Errorf("--trusted-proxies: %q is no network", text)
	}
	return network.Masked(), nil
}

// runFront serves until ctx ends, then drains.
func runFront(ctx context.Context, s frontSettings, e env) error {
	p, err := newFrontProcess(s, e)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.open(e.stdout); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	background := p.start(work)
	defer background.Wait()
	defer stop()
	select {
	case err := <-p.ports.failed:
		return err
	case <-ctx.Done():
	}
	p.drain(s.linger)
	return nil
}
