package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/demo"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sidecar"
)

// inProcess is a pillion that runs in this process.
type inProcess struct {
	t     *testing.T
	lines *bufio.Reader
	log   bytes.Buffer // read it after stop
	end   context.CancelFunc
	code  chan int
}

func runInProcess(t *testing.T, args ...string) *inProcess {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	c := &inProcess{t: t, lines: bufio.NewReader(in), end: cancel, code: make(chan int, 1)}
	go func() {
		c.code <- run(ctx, args, nil, nil, out, &c.log)
		_ = out.Close()
	}()
	t.Cleanup(func() { c.stop() })
	return c
}

// says returns what follows the words on the next line of its output.
func (c *inProcess) says(words string) string {
	c.t.Helper()
	line, err := c.lines.ReadString('\n')
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), words+" ")
	if err != nil || !ok {
		c.t.Fatalf("it says %q, want %s ..; it ended with %d\n%s", line, words, c.stop(), c.log.String())
	}
	return rest
}

// stop ends it as SIGTERM does and returns its exit code.
func (c *inProcess) stop() int {
	c.end()
	code := <-c.code
	c.code <- code
	return code
}

// site is a whole site of real parts: a node, an app with sidecars a1 and a2, and a front that speaks TLS.
type site struct {
	sidecars   map[string]*inProcess
	front      *inProcess
	url, admin string
	trust      *x509.CertPool
	cert, key  string
}

func startSite(t *testing.T) *site {
	t.Helper()
	node, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	memory := memcachedtest.New(memcachedtest.Options{})
	go func() { _ = memory.Serve(node) }()
	t.Cleanup(func() { _ = node.Close(); memory.Close() })
	mux := http.NewServeMux()
	mux.Handle("/", demo.App("app"))
	mux.HandleFunc("/echo", echo)
	mux.HandleFunc("/asker", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"), " ", r.Header.Get("X-Forwarded-Host"), " ", r.Header.Get("X-Forwarded-For"))
	})
	app := httptest.NewServer(mux)
	t.Cleanup(app.Close)

	s := &site{sidecars: map[string]*inProcess{}, trust: x509.NewCertPool()}
	key := filepath.Join(t.TempDir(), "1.key")
	if code := run(t.Context(), []string{"config", "key", key}, nil, nil, io.Discard, io.Discard); code != 0 {
		t.Fatal("no key")
	}
	s.certify(t)
	args := []string{"front", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--drain-linger=0s", "--tls-cert=" + s.cert, "--tls-key=" + s.key}
	for _, route := range []string{"a1", "a2"} {
		c := runInProcess(t, "sidecar", "--app=shop", "--route="+route, "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--drain-linger=0s",
			"--upstream="+app.URL, "--ring-nodes=n1="+node.Addr().String(), "--copies=1", "--keys=id=1,use=seal,file="+key,
			"--ring-op-timeout=2s", "--commit-timeout=5s", "--trusted-proxies=127.0.0.1")
		s.sidecars[route] = c
		args = append(args, "--backends="+route+"="+c.says("listening on"))
	}
	s.front = runInProcess(t, args...)
	s.url = "https://" + s.front.says("listening on")
	s.admin = "http://" + s.front.says("admin on")
	eventually(t, "every sidecar serves", func() bool { return strings.Count(visit(t, http.DefaultClient, s.admin+"/status"), `"serving"`) == 2 })
	return s
}

// certify writes a certificate for 127.0.0.1 that signs itself.
func (s *site) certify(t *testing.T) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	s.cert, s.key = filepath.Join(t.TempDir(), "tls.pem"), filepath.Join(t.TempDir(), "tls.key")
	for file, block := range map[string]*pem.Block{s.cert: {Type: "CERTIFICATE", Bytes: public}, s.key: {Type: "PRIVATE KEY", Bytes: secret}} {
		text := pem.EncodeToMemory(block)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		s.trust.AppendCertsFromPEM(text)
	}
}

// browser speaks HTTP/2 where it is offered.
func (s *site) browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.trust}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, Timeout: patience}
}

// count raises the visitor's counter and returns it, with the home of the session.
func (s *site) count(t *testing.T, browser *http.Client) (n int, home string) {
	t.Helper()
	resp, err := browser.Get(s.url + "/counter")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Value int }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != 200 || resp.Proto != "HTTP/2.0" {
		t.Fatalf("%s %s, %v", resp.Proto, resp.Status, err)
	}
	for _, c := range browser.Jar.Cookies(resp.Request.URL) {
		if id, err := ring.ParseID(c.Value); err == nil {
			home = id.Route
		}
	}
	return answer.Value, home
}

func echo(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// TestFront is a visit: HTTP/2 and a WebSocket over TLS, a session that stays at its home and moves when that leaves, and the front's end.
func TestFront(t *testing.T) {
	s := startSite(t)
	browser := s.browser(t)
	_, home := s.count(t, browser)
	for want := 2; want <= 10; want++ {
		if n, now := s.count(t, browser); n != want || now != home {
			t.Errorf("count %d at %s, want %d at %s", n, now, want, home)
		}
	}
	if got := visit(t, browser, s.url+"/asker"); !strings.HasPrefix(got, "https 127.0.0.1:") || !strings.HasSuffix(got, " 127.0.0.1, 127.0.0.1") {
		t.Errorf("the app hears that %s asks", got)
	}
	testEcho(t, s)

	if code := s.sidecars[home].stop(); code != 0 {
		t.Errorf("%s ended with %d: %s", home, code, s.sidecars[home].log.String())
	}
	if n, now := s.count(t, browser); n != 11 || now == home {
		t.Errorf("count %d at %s, want 11 elsewhere", n, now)
	}
	if status := visit(t, http.DefaultClient, s.admin+"/status"); strings.Count(status, `"health": "serving"`) != 1 || strings.Count(status, `"health": "gone"`) != 1 {
		t.Error(status)
	}
	if ready := visit(t, http.DefaultClient, s.admin+"/ready"); !strings.Contains(ready, `"ready": true`) || !strings.Contains(ready, "sidecar "+home+" is gone") {
		t.Error(ready)
	}
	if counted := visit(t, http.DefaultClient, s.admin+"/metrics"); !strings.Contains(counted, `pillion_front_backend_up{app="",backend="`+home+`"} 0`) {
		t.Error(counted)
	}
	if code := s.front.stop(); code != 0 {
		t.Errorf("the front ended with %d: %s", code, s.front.log.String())
	}
}

func testEcho(t *testing.T, s *site) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.trust}}
	c, _, err := websocket.Dial(ctx, s.url+"/echo", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if !strings.Contains(visit(t, http.DefaultClient, s.admin+"/status"), `"requests": 1`) {
		t.Error("the tunnel is not under way")
	}
	for n := range 10 {
		sent := strings.Repeat("x", 1<<n)
		if err := c.Write(ctx, websocket.MessageText, []byte(sent)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != sent {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func visit(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A certificate is renewed without a restart, and a wrong one changes nothing.
func TestFrontCertificate(t *testing.T) {
	s := &site{trust: x509.NewCertPool()}
	s.certify(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")
	install := func(from *site) {
		for to, file := range map[string]string{cert: from.cert, key: from.key} {
			text, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(to, text, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	install(s)
	args := []string{"--listen=127.0.0.1:0", "--admin=off", "--tls-cert=" + cert, "--tls-key=" + key, "--backends=a1=127.0.0.1:1"}
	c, err := config.LoadFront(args, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newFrontProcess(c, args, func(f *sidecar.Front) head.Handler { return f }, env{stdout: io.Discard, stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := p.open(io.Discard); err != nil {
		t.Fatal(err)
	}
	shown := func() []byte {
		conn, err := tls.Dial("tcp", p.ports.addresses()[0], &tls.Config{RootCAs: s.trust})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].Raw
	}
	first := shown()
	if err := os.WriteFile(cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p.watcher.Reload(); !bytes.Equal(shown(), first) {
		t.Error("the certificate changed")
	}
	s.certify(t)
	install(s)
	if p.watcher.Reload(); bytes.Equal(shown(), first) {
		t.Error("the certificate did not change")
	}
}
