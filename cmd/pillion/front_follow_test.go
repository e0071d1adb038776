package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pillion-proxy/pillion/internal/head"
)

// followSite is a control plane, the app shop before it, and a front that follows.
type followSite struct {
	*site           // a certificate, and who trusts it
	services string // file
	plane    command
	front    *inProcess
	sidecar  *standIn
}

func startFollowSite(t *testing.T, services string) *followSite {
	t.Helper()
	f := &followSite{site: &site{trust: x509.NewCertPool()}, services: filepath.Join(t.TempDir(), "services.yaml")}
	f.certify(t)
	f.write(t, services)
	f.plane = startCommand(t, "control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--hold-off", "0s", "--services", f.services)
	f.sidecar = startStandIn(t, f.plane.address, "shop", "s1")
	f.front = runInProcess(t, "front", "--control-plane", f.plane.address, "--admin", "127.0.0.1:0", "--drain-linger", "0s")
	f.admin = "http://" + f.front.says("admin on")
	go func() { _, _ = io.Copy(io.Discard, f.front.lines) }()
	return f
}

// write makes these the services; CERT and KEY stand for the site's files.
func (f *followSite) write(t *testing.T, services string) {
	t.Helper()
	text := strings.NewReplacer("CERT", f.cert, "KEY", f.key).Replace(services)
	if err := os.WriteFile(f.services, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func portsOf(n int) (all []any) {
	for len(all) < n {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err == nil {
			defer l.Close()
			all = append(all, l.Addr().(*net.TCPAddr).Port)
		}
	}
	return all
}

// serves tells whether the sidecar answers through that address.
func (f *followSite) serves(t *testing.T, url string) bool {
	client := f.browser(t)
	answer, err := client.Get(url)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return strings.HasPrefix(string(body), "shop s1 ") && (answer.TLS == nil || answer.ProtoMajor == 2 && strings.HasSuffix(string(body), " https"))
}

// Listeners come, move and go as the services file has them; a certificate changes under its listener; nothing that is under way is cut.
func TestFrontListeners(t *testing.T) {
	t.Parallel()
	p := portsOf(4)
	plain, secure, moved, taken := p[0], p[1], p[2], p[3]
	const services = "apps: {shop: {}}\nlisteners:\n- {address: 127.0.0.1, port: %d}\n- {address: 127.0.0.1, port: %d, tls: {cert: CERT, key: KEY}}\n"
	f := startFollowSite(t, fmt.Sprintf(services, plain, secure))
	at := func(scheme string, port any) string { return fmt.Sprintf("%s://127.0.0.1:%d/", scheme, port) }
	eventually(t, "both listeners serve", func() bool { return f.serves(t, at("http", plain)) && f.serves(t, at("https", secure)) })

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tunnel, _, err := websocket.Dial(ctx, strings.Replace(at("http", plain), "http", "ws", 1)+"echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tunnel.CloseNow()
	echoes := func() error {
		if err := tunnel.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			return err
		}
		_, _, err := tunnel.Read(ctx)
		return err
	}
	shown := func() []byte {
		conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", secure), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].Raw
	}
	first := shown()
	f.certify(t)
	f.write(t, fmt.Sprintf(services, plain, secure))
	eventually(t, "the new certificate is shown", func() bool { return !bytes.Equal(shown(), first) })
	if err := echoes(); err != nil {
		t.Error(err)
	}

	f.write(t, fmt.Sprintf(services, moved, secure))
	eventually(t, "the listener moved", func() bool { return f.serves(t, at("http", moved)) && !f.serves(t, at("http", plain)) })

	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken))
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, fmt.Sprintf(services, taken, secure))
	eventually(t, "a port that somebody has is told", func() bool {
		return strings.Contains(visit(t, http.DefaultClient, f.admin+"/ready"), "address already in use")
	})
	if !f.serves(t, at("https", secure)) {
		t.Error("the other listener does not serve")
	}
	_ = other.Close()
	eventually(t, "it is opened when it is free", func() bool { return f.serves(t, at("http", taken)) })
	eventually(t, "ready", func() bool { return strings.Contains(visit(t, http.DefaultClient, f.admin+"/ready"), `"ready": true`) })
	if code := f.front.stop(); code != 0 {
		t.Errorf("the front ended with %d", code)
	}
}

// Where the services file says so, sidecars are reached by TLS, probes included, and who has another certificate is not.
func TestFrontReachesSidecarsByTLS(t *testing.T) {
	t.Parallel()
	port := portsOf(1)[0]
	f := startFollowSite(t, fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, "it serves", func() bool { return f.serves(t, url) })
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		t.Fatal(err)
	}
	secure := startSecureStandIn(t, f.plane.address, "shop", "s1", pair) // the newest of a route has it
	f.write(t, fmt.Sprintf("apps: {shop: {upstream_tls: {ca: CERT, name: 127.0.0.1}}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	eventually(t, "it serves by TLS", func() bool { return f.serves(t, url) && secure.requests.Load() > 0 })
	f.write(t, fmt.Sprintf("apps: {shop: {upstream_tls: {ca: CERT, name: another.example}}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	eventually(t, "another name is called gone", func() bool {
		return strings.Contains(visit(t, http.DefaultClient, f.admin+"/status"), `"health": "gone"`)
	})
	eventually(t, "and not asked, once the old connections have idled", func() bool {
		<-time.After(head.UpstreamIdle + 500*time.Millisecond)
		return !f.serves(t, url)
	})
}

// A front that ends drops nothing: it finishes what it has, and accepts what the kernel already has.
func TestFrontEndsWithoutLoss(t *testing.T) {
	t.Parallel()
	port := portsOf(1)[0]
	f := startFollowSite(t, fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, "it serves", func() bool { return f.serves(t, url) })
	before := f.sidecar.requests.Load()
	answers := make(chan error, 100)
	for range cap(answers) {
		go func() {
			answer, err := http.Post(url+"?slow", "text/plain", strings.NewReader("body"))
			if err == nil {
				_, err = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
			}
			if err == nil && answer.StatusCode != 200 {
				err = fmt.Errorf("status %s", answer.Status)
			}
			answers <- err
		}()
	}
	eventually(t, "all are under way", func() bool { return f.sidecar.requests.Load()-before == int64(cap(answers)) })
	ended := make(chan int, 1)
	go func() { ended <- f.front.stop() }()
	f.sidecar.release()
	for range cap(answers) {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if code := <-ended; code != 0 {
		t.Errorf("it ended with %d", code)
	}
	if _, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second); err == nil {
		t.Error("the port is still open")
	}
}
