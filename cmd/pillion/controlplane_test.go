package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/demo"
)

// authority signs the certificates of a fleet.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.file, _ = a.issue("ca")
	return a
}

// issue writes a certificate with names, which are DNS names or addresses; the first one is the authority's own.
func (a *authority) issue(file string, names ...string) (cert, key string) {
	a.t.Helper()
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
		parent, signer = template, private
	}
	public, err := x509.CreateCertificate(rand.Reader, template, parent, &private.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.cert, _ = x509.ParseCertificate(public)
		a.key = private
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, file+".pem"), filepath.Join(a.dir, file+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	return cert, key
}

// Sidecar and control plane know each other by certificates, and the control plane's is renewed while it runs. A sidecar that shows another
// app's is refused.
func TestControlPlaneOverTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue("plane", "127.0.0.1")
	plane := startCommand(t, "control-plane", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--hold-off=0s",
		"--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+ca.file)
	app := startReplaceable(t, demo.App("a1"))
	node := startTestNode(t)
	start := func(route, name string) command {
		own, secret := ca.issue(route, name)
		return startCommand(t, "sidecar", "--app=shop", "--route="+route, "--upstream=http://"+app.Address(), "--listen=127.0.0.1:0", "--admin=127.0.0.1:0",
			"--ring-nodes=n1="+node, "--drain-linger=0s", "--control-plane="+plane.address, "--control-plane-tls-ca="+ca.file, "--control-plane-tls-cert="+own, "--control-plane-tls-key="+secret)
	}
	type view struct {
		Sidecars []struct{ Route string }
		Refused  []struct{ Node, Reason string }
	}
	seen := func() (v view) { get(t, plane.admin, "/registry", &v); return v }
	start("a1", "a1.shop")
	eventually(t, "the sidecar is registered", func() bool { v := seen(); return len(v.Sidecars) == 1 && v.Sidecars[0].Route == "a1" })
	start("a2", "a2.other")
	eventually(t, "the other is refused", func() bool { v := seen(); return len(v.Refused) == 1 && v.Refused[0].Node == "a2.shop" })
	if v := seen(); len(v.Sidecars) != 1 {
		t.Errorf("registered are %v", v.Sidecars)
	}

	shown := func() string {
		own, secret := ca.issue("probe", "pillion-front")
		pair, err := tls.LoadX509KeyPair(own, secret)
		if err != nil {
			t.Fatal(err)
		}
		trust := x509.NewCertPool()
		trust.AddCert(ca.cert)
		conn, err := tls.Dial("tcp", plane.address, &tls.Config{RootCAs: trust, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
		if err != nil {
			return err.Error()
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	first := shown()
	ca.issue("plane", "127.0.0.1") // over the files of the first
	eventually(t, "the new certificate is shown", func() bool { now := shown(); return now != first && len(now) > 10 && len(now) < 25 })
}
