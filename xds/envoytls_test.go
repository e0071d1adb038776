package xds

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Envoy over mTLS, with a listener whose certificate is replaced while it serves: xDS, SDS, and sidecars that speak TLS.
func TestEnvoyTLS(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		envoyBinary(t)
		ca := newAuthority(t)
		cert, key := ca.issue("site", "shop.example")
		port := freePort(t)
		services := write(t, filepath.Join(t.TempDir(), "services.yaml"), fmt.Sprintf(
			"apps: {shop: {hosts: [shop.example]}}\nlisteners: [{address: 127.0.0.1, port: %d, tls: {cert: %s, key: %s}}]\n", port, cert, key))
		p := startPlane(t, "", Options{Services: services, TLS: ca.config("plane", "127.0.0.1")})
		a1 := startBackend(t, "shop", "a1")
		a1.register(ca.config("a1", "a1.shop"), p.address)
		front, frontKey := ca.issue("front", frontName)
		e := startEnvoy(t, Bootstrap{ControlPlanes: []string{p.address}, Delta: delta, CA: ca.file, Cert: front, Key: frontKey, ServerName: "127.0.0.1"})

		var shown *tls.ConnectionState
		ask := func() string {
			client := http.Client{Timeout: within, Transport: &http.Transport{
				DisableKeepAlives: true, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: "shop.example"},
			}}
			r, _ := http.NewRequestWithContext(t.Context(), "GET", fmt.Sprintf("https://127.0.0.1:%d/", port), nil)
			r.Host = "shop.example"
			answer, err := client.Do(r)
			if err != nil {
				return err.Error()
			}
			defer answer.Body.Close()
			shown = answer.TLS
			return answer.Proto + " " + answer.Status
		}
		eventually(t, "https is served", func() bool { return ask() == "HTTP/2.0 200 OK" })
		first := shown.PeerCertificates[0].SerialNumber
		ca.issue("site", "shop.example") // over the files of the first
		eventually(t, "the new certificate is shown", func() bool {
			return ask() == "HTTP/2.0 200 OK" && shown.PeerCertificates[0].SerialNumber.Cmp(first) != 0
		})
		e.accepted()

		text, err := os.ReadFile(key)
		if err != nil {
			t.Fatal(err)
		}
		write(t, key, string(text[:40])) // a key that is half written
		eventually(t, "the broken key is reported", func() bool { return strings.Contains(p.log.String(), "are not a certificate and its key") })
		if got := ask(); got != "HTTP/2.0 200 OK" {
			t.Errorf("after a broken key: %s", got)
		}
	})
}

// A sidecar that speaks TLS is verified by its name.
func TestEnvoyVerifiesSidecars(t *testing.T) {
	envoyBinary(t)
	ca := newAuthority(t)
	port := freePort(t)
	services := filepath.Join(t.TempDir(), "services.yaml")
	text := "apps: {shop: {upstream_tls: {ca: %s, name: %s}}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n"
	write(t, services, fmt.Sprintf(text, ca.file, "shop.internal", port))
	p := startPlane(t, "", Options{Services: services})
	b := startBackend(t, "shop", "a1")
	secure := ca.config("a1", "shop.internal")
	secure.ClientAuth = tls.NoClientCert
	l, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = b.server.Serve(l) }()
	b.Sidecar.Address = l.Addr().String()
	b.register(nil, p.address)
	e := startEnvoy(t, Bootstrap{ControlPlanes: []string{p.address}, Delta: true})
	v := newVisitor(t, fmt.Sprintf("http://127.0.0.1:%d", port))
	eventually(t, "endpoint", func() bool { return e.health(b.Sidecar.Address) == "healthy" })
	v.until("/", "", "a1")
	write(t, services, fmt.Sprintf(text, ca.file, "other.internal", port))
	eventually(t, "a wrong name is not spoken to", func() bool { status, _ := v.ask("GET", "/", ""); return status == 503 })
	e.accepted()
}
