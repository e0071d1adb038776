package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds"
)

// controlPlaneFlags are the settings of a control plane.
type controlPlaneFlags struct {
	listen, services  string
	holdOff           time.Duration
	insecure          bool
	cert, key, ca     string
	admin, adminToken string
	adminHosts        []string
}

func newControlPlaneCommand(e env) *cobra.Command {
	var f controlPlaneFlags
	cmd := &cobra.Command{
		Use:   "control-plane",
		Short: "Run the xDS server: sidecars register with it, Envoy and other fronts are configured by it",
		Long: "Sidecars started with --control-plane register by a stream that they hold open; fronts get listeners, routes, clusters and\n" +
			"endpoints from who is there. Run two for availability: they share nothing, and sidecars register with both.",
		Example: "  pillion control-plane --listen 127.0.0.1:18000\n" +
			"  pillion control-plane --listen :18000 --services /etc/pillion/services.yaml --tls-cert cp.pem --tls-key cp.key --client-ca ca.pem",
		Args: arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) error { return runControlPlane(cmd.Context(), f, e) },
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&f.listen, "listen", "127.0.0.1:18000", "`address` for xDS; port 0 takes a free one")
	fs.StringVar(&f.services, "services", "", "`file` that says which apps are served where, and names rings and listeners; read again when it changes")
	fs.DurationVar(&f.holdOff, "hold-off", 3*time.Second, "how long sidecars may take to register before anything is published")
	fs.BoolVar(&f.insecure, "insecure", false, "allow xDS without TLS on an address that other machines reach")
	fs.StringVar(&f.cert, "tls-cert", "", "PEM `file` with the certificate for xDS")
	fs.StringVar(&f.key, "tls-key", "", "PEM `file` with its private key")
	fs.StringVar(&f.ca, "client-ca", "", "PEM `file` with the certificates that sign those of sidecars and fronts")
	fs.StringVar(&f.admin, "admin", "127.0.0.1:9903", "`address` for operators: /registry, /fronts, /snapshot, probes, metrics")
	fs.StringSliceVar(&f.adminHosts, "admin-hosts", nil, "`names` besides its own that a request to the admin address may carry in Host")
	fs.StringVar(&f.adminToken, "admin-token-file", "", "`file` with the bearer token that other machines must send to the admin address")
	return cmd
}

func runControlPlane(ctx context.Context, f controlPlaneFlags, e env) error {
	log := slog.New(slog.NewJSONHandler(e.stderr, nil))
	secure, err := f.tls()
	if err != nil {
		return err
	}
	token, err := f.token()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return hinted{fmt.Errorf("--listen: %w", err), "another process may have the port; port 0 takes a free one"}
	}
	defer l.Close()
	operators, err := net.Listen("tcp", f.admin)
	if err != nil {
		return hinted{fmt.Errorf("--admin: %w", err), "another process may have the port; port 0 takes a free one"}
	}
	defer operators.Close()
	plane, err := xds.New(l, xds.Options{
		Services: f.services, HoldOff: f.holdOff, TLS: secure, Insecure: f.insecure, Metrics: metrics.NewControlPlane(registry), Log: log,
	})
	if errors.Is(err, xds.ErrPlain) {
		return hinted{fmt.Errorf("--listen %s: %w", f.listen, err), "give --tls-cert, --tls-key and --client-ca; or listen on 127.0.0.1; or say --insecure when the network keeps strangers out"}
	}
	if err != nil {
		return err
	}
	defer plane.Stop()
	if secure == nil && f.insecure {
		log.Warn("xDS is not secured: whoever reaches the port can become a backend and read the certificates' keys of listeners")
	}
	leave := planeDeparture(plane, log)
	page := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: admin.New(admin.Options{
		Listener: operators.Addr(), Hosts: f.adminHosts, Token: token, Readiness: planeReadiness{plane, leave}, Leaver: leave, Metrics: registry,
		Pages: map[string]func() any{"/registry": plane.Registry, "/fronts": plane.Fronts, "/snapshot": plane.Snapshot},
	})}
	defer func() { _ = page.Close() }()
	failed := make(chan error, 2)
	go func() { failed <- plane.Serve() }()
	go func() { failed <- page.Serve(operators) }()
	fmt.Fprintf(e.stdout, "listening on %s\nadmin on %s\n", l.Addr(), operators.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	leave.end()
	for deadline := time.Now().Add(planeLeaves); plane.Fronting() > 0 && time.Now().Before(deadline); {
		time.Sleep(drainLook / 10)
	}
	return nil
}

// planeLeaves bounds how long an ending control plane waits for its fronts to go.
const planeLeaves = 2 * time.Second

func planeDeparture(plane *xds.ControlPlane, log *slog.Logger) *departure {
	return &departure{
		apply: func(leave bool) {
			if leave {
				log.Info("draining")
				plane.Leave()
				return
			}
			log.Info("serving again")
			plane.Stay()
		},
		waiting: func() []string {
			if n := plane.Fronting(); n > 0 {
				return []string{fmt.Sprintf("%d fronts to go to another control plane", n)}
			}
			return nil
		},
	}
}

// planeReadiness: before the hold-off is over a new front would get nothing, and one that leaves takes none.
type planeReadiness struct {
	*xds.ControlPlane
	leave *departure
}

func (r planeReadiness) Ready() (blocked, degraded []string) {
	select {
	case <-r.ControlPlane.Ready():
	default:
		blocked = append(blocked, "sidecars are given time to register")
	}
	if r.leave.leaving.Load() {
		blocked = append(blocked, "draining")
	}
	return blocked, nil
}

// tls reads the certificate at each handshake, so that a new one needs no restart.
func (f controlPlaneFlags) tls() (*tls.Config, error) {
	if f.cert == "" && f.key == "" && f.ca == "" {
		return nil, nil
	}
	if f.cert == "" || f.key == "" || f.ca == "" {
		return nil, errors.New("--tls-cert, --tls-key and --client-ca come together: clients are known by their certificates")
	}
	if _, err := tls.LoadX509KeyPair(f.cert, f.key); err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, fmt.Errorf("--client-ca: %w", err)
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("--client-ca: %s holds no PEM certificate", f.ca)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(f.cert, f.key)
			return &pair, err
		},
	}, nil
}

func (f controlPlaneFlags) token() (string, error) {
	if f.adminToken == "" {
		return "", nil
	}
	text, err := os.ReadFile(f.adminToken)
	if err != nil {
		return "", fmt.Errorf("--admin-token-file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("--admin-token-file: %s is empty", f.adminToken)
	}
	return token, nil
}
