package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/xds"
)

// standIn stands for a sidecar with its app: it says who it is and what it was asked, and registers.
type standIn struct {
	app, route string
	address    string
	client     *xds.Client
	stop       func()
	requests   atomic.Int64
	held       chan struct{} // slow answers wait for its end
	release    func()
}

func startStandIn(t *testing.T, plane, app, route string) *standIn {
	t.Helper()
	return startSecureStandIn(t, plane, app, route)
}

// startSecureStandIn speaks TLS when it has a certificate.
func startSecureStandIn(t *testing.T, plane, app, route string, pair ...tls.Certificate) *standIn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &standIn{app: app, route: route, address: l.Addr().String(), held: make(chan struct{})}
	s.release = sync.OnceFunc(func() { close(s.held) })
	server := &http.Server{Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	if len(pair) > 0 {
		l = tls.NewListener(l, &tls.Config{Certificates: pair})
	}
	go func() { _ = server.Serve(l) }()
	s.client, err = xds.NewClient(xds.ClientOptions{
		Targets: []string{plane}, Log: slog.New(slog.DiscardHandler), Changed: func(string, *structpb.Struct) error { return nil },
		Sidecar: xds.Sidecar{App: app, Space: "mall", Route: route, Address: s.address, Cookie: "__Host-psid", HealthPath: "/up"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.client.Run(ctx) }()
	s.stop = func() { cancel(); <-done; _ = server.Close() }
	t.Cleanup(s.stop)
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/up" {
		return
	}
	s.requests.Add(1)
	switch query := r.URL.RawQuery; {
	case query == "late":
		select {
		case <-r.Context().Done():
		case <-time.After(patience):
		}
	case r.URL.Path == "/echo":
		echo(w, r)
		return
	case query == "slow", query == "hang-"+s.route:
		<-s.held
	case query == "break-"+s.route:
		panic(http.ErrAbortHandler)
	case query == "decline-"+s.route:
		w.Header().Set("Pillion-Not-Executed", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	default:
		if s.pages(w, query) {
			return
		}
	}
	fmt.Fprintf(w, "%s %s %s %s %s", s.app, s.route, r.RequestURI, r.Host, r.Header.Get("X-Forwarded-Proto"))
}

// pages are answers that a front may encode, or not.
func (s *standIn) pages(w http.ResponseWriter, query string) bool {
	w.Header().Set("Content-Type", "text/html")
	switch query {
	case "page", "part":
		page := strings.Repeat("<p>page</p>", 500)
		w.Header().Set("ETag", `"page"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(page)))
		if query == "part" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/9999", len(page)-1))
			w.WriteHeader(http.StatusPartialContent)
		}
		fmt.Fprint(w, page)
	case "events":
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
	case "trickle":
		fmt.Fprint(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-s.held
		fmt.Fprint(w, "last")
	default:
		w.Header().Del("Content-Type")
		return false
	}
	return true
}

const mallServices = `
apps:
  shop: {hosts: [shop.example, "*.shop.example"], timeout: 1s}
  cart: {hosts: [shop.example], prefix: /cart, retries: 0, compress: false}
  help: {hosts: [shop.example, "help.shop.example"], prefix: /cart/help}
  blog: {hosts: ["*"], prefix: /blog}
listeners: [{address: 127.0.0.1, port: %d}]
`

// mallSite is one control plane that drives an Envoy and a front, and sidecars s1 and s2 of shop, and one of every other app.
type mallSite struct {
	plane        command
	envoy, front string // addresses
	sidecars     map[string]*standIn
}

func startMall(t *testing.T) *mallSite {
	t.Helper()
	port := 20000 + rand.IntN(12000)
	services := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(services, fmt.Appendf(nil, mallServices, port), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &mallSite{envoy: fmt.Sprintf("127.0.0.1:%d", port), sidecars: map[string]*standIn{}}
	m.plane = startCommand(t, "control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--hold-off", "0s", "--services", services)
	for _, s := range []struct{ app, route string }{{"shop", "s1"}, {"shop", "s2"}, {"cart", "c1"}, {"help", "h1"}, {"blog", "b1"}} {
		m.sidecars[s.route] = startStandIn(t, m.plane.address, s.app, s.route)
	}
	startEnvoyOf(t, m.plane.address, "delta")
	front := runInProcess(t, "front", "--control-plane", m.plane.address, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-linger", "0s")
	front.says("admin on")
	m.front = front.says("listening on")
	go func() { _, _ = io.Copy(io.Discard, front.lines) }()
	for _, address := range []string{m.envoy, m.front} {
		eventually(t, "it serves all", func() bool {
			for _, s := range m.sidecars {
				host := map[string]string{"blog": "x", "help": "help.shop.example"}[s.app]
				path := map[string]string{"blog": "/blog", "help": "/cart/help", "cart": "/cart"}[s.app]
				_, body := ask(address, "GET", cmp.Or(host, "shop.example"), cmp.Or(path, "/"), mallCookie(s.route))
				if !strings.HasPrefix(body, s.app+" "+s.route+" ") {
					return false
				}
			}
			return true
		})
	}
	return m
}

func mallCookie(route string) string { return "Cookie: __Host-psid=token-n1." + route }

// ask sends a request as it is written, on a connection of its own.
func ask(address, method, host, target string, fields ...string) (answer *http.Response, body string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return &http.Response{}, err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	lines := append([]string{method + " " + target + " HTTP/1.1", "Host: " + host, "Connection: close"}, fields...)
	if _, err := io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"); err != nil {
		return &http.Response{}, err.Error()
	}
	answer, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return &http.Response{}, err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer, string(text)
}

// What drives Envoy drives the front: the same questions go the same way.
func TestFrontIsAlikeEnvoy(t *testing.T) {
	t.Parallel()
	m := startMall(t)
	t.Run("routes", m.routes)
	t.Run("homes", m.homes)
	t.Run("paths", m.paths)
	t.Run("repeats", m.repeats)
	t.Run("codings", m.codings)
}

// both asks both and compares what was decided: the answer's status, and what the sidecar saw.
func (m *mallSite) both(t *testing.T, method, host, target string, fields ...string) (status int, body string) {
	t.Helper()
	theirs, theirBody := ask(m.envoy, method, host, target, fields...)
	ours, body := ask(m.front, method, host, target, fields...)
	if theirs.StatusCode != 200 {
		theirBody, body = "", ""
	}
	if ours.StatusCode != theirs.StatusCode || body != theirBody {
		t.Errorf("%s %s %s %q: the front answers %d %q, Envoy %d %q", method, host, target, fields, ours.StatusCode, body, theirs.StatusCode, theirBody)
	}
	return ours.StatusCode, body
}

func (m *mallSite) routes(t *testing.T) {
	home := mallCookie("s1") // in every app the visitor has a home or there is one sidecar: nothing is left to chance
	for _, tc := range []struct{ host, target, want string }{
		{"shop.example", "/", "shop s1"},
		{"SHOP.example:81", "/", "shop s1"},
		{"shop.example", "/cart", "cart c1"},
		{"shop.example", "/cart/", "cart c1"},
		{"shop.example", "/cart?x=/cart/help", "cart c1"},
		{"shop.example", "/cart/help/x", "help h1"},
		{"shop.example", "/cart/helper", "cart c1"},
		{"shop.example", "/carts", "shop s1"},
		{"shop.example", "/Cart", "shop s1"},
		{"shop.example", "/x/../cart", "cart c1"},
		{"shop.example", "/cart/../x", "shop s1"},
		{"shop.example", "/cart%2Fhelp", "shop s1"},
		{"a.shop.example", "/cart", "shop s1"},
		{"a.b.shop.example", "/", "shop s1"},
		{"help.shop.example", "/cart/help", "help h1"},
		{"help.shop.example", "/", ""},
		{"other.example", "/blog/1", "blog b1"},
		{"other.example", "/", ""},
		{"shop.example.", "/", ""},
		{"shop.example", "/blog", "shop s1"},
	} {
		for _, method := range []string{"GET", "POST"} {
			fields := []string{home}
			if method == "POST" {
				fields = append(fields, "Content-Length: 0")
			}
			status, body := m.both(t, method, tc.host, tc.target, fields...)
			if want := map[bool]int{true: 200, false: 404}[tc.want != ""]; status != want || !strings.HasPrefix(body, tc.want) {
				t.Errorf("%s%s: %d %q, want %d %q", tc.host, tc.target, status, body, want, tc.want)
			}
		}
	}
}

func (m *mallSite) homes(t *testing.T) {
	for _, route := range []string{"s1", "s2"} {
		for _, cookie := range []string{
			"__Host-psid=token-n1." + route,
			"x=1; __Host-psid=token-n1." + route + "; y=token-n1.s1",
			"x=1;__Host-psid=token-n1." + route,
			"X__Host-psid=t.s1; __Host-psid=token-n1." + route,
			`__Host-psid="token-n1.` + route + `"`,
			"__Host-psid=t.gone; __Host-psid=token-n1." + route,
			"__Host-psid =t." + route + " ",
			"__Host-psid; __Host-psid=; __Host-psid=t." + route,
		} {
			if _, body := m.both(t, "GET", "shop.example", "/", "Cookie: "+cookie); !strings.HasPrefix(body, "shop "+route) {
				t.Errorf("%q goes to %q", cookie, body)
			}
		}
	}
	for _, cookie := range []string{"", "__Host-psid=t.gone", "a;b=;=;;", "__Host-psid=s1", "__host-psid=t.s1", "__Host-psid=t.s1x", "__Host-psid=t.:cookie"} {
		for _, address := range []string{m.envoy, m.front} {
			seen := map[string]bool{}
			for range 20 {
				_, body := ask(address, "GET", "shop.example", "/", "Cookie: "+cookie)
				seen[body] = true
			}
			if len(seen) != 2 {
				t.Errorf("%q is not balanced by %s: %v", cookie, address, seen)
			}
		}
	}
}

// paths: both make of a path the same one, or refuse it.
func (m *mallSite) paths(t *testing.T) {
	targets := []string{"/a/./b", "/a/../b", "/../b", "/a/..", "/a/.", "//a", "/a//../b", `/a\b`, `/a/..\b`, "/%2e%2E/b", "/a/%2e", "/%zz", "/a%", "/a?b=/../c%41", "/a/...", "/a/.b"}
	for c := range 256 {
		targets = append(targets, fmt.Sprintf("/a%%%02xb", c), fmt.Sprintf("/a%%%02Xb/../c", c))
		if c > ' ' && c < 0x7f && c != '#' && c != '?' {
			targets = append(targets, fmt.Sprintf("/a%cb", c))
		}
	}
	for _, target := range targets {
		m.both(t, "GET", "shop.example", target, mallCookie("s1"))
	}
}

// repeats: what is sent again, and how often its sidecars see it.
func (m *mallSite) repeats(t *testing.T) {
	for _, tc := range []struct {
		method, query, body string
		status              int
		seen                int64 // by both sidecars, for both fronts; a safe one may be seen more often
	}{
		{"GET", "break-s1", "shop s2", 200, 4},
		{"POST", "break-s1", "", 0, 2},
		{"GET", "decline-s1", "shop s2", 200, 4},
		{"POST", "decline-s1", "shop s2", 200, 4},
		{"GET", "late", "", 504, 2},
	} {
		for _, address := range []string{m.envoy, m.front} {
			eventually(t, "s1 is well again", func() bool {
				_, body := ask(address, "GET", "shop.example", "/", mallCookie("s1"))
				return strings.HasPrefix(body, "shop s1")
			})
		}
		before := m.sidecars["s1"].requests.Load() + m.sidecars["s2"].requests.Load()
		for _, address := range []string{m.envoy, m.front} {
			answer, body := ask(address, tc.method, "shop.example", "/?"+tc.query, mallCookie("s1"))
			if tc.status != 0 && answer.StatusCode != tc.status || tc.status == 0 && answer.StatusCode < 500 || !strings.HasPrefix(body, tc.body) {
				t.Errorf("%s %s at %s: %d %q", tc.method, tc.query, address, answer.StatusCode, body)
			}
			if answer.Header.Get("Pillion-Not-Executed") != "" {
				t.Errorf("%s: the internal field reaches the visitor", address)
			}
		}
		if seen := m.sidecars["s1"].requests.Load() + m.sidecars["s2"].requests.Load() - before; seen != tc.seen && (tc.method != "GET" || seen < tc.seen) {
			t.Errorf("%s %s: sidecars saw %d requests, want %d", tc.method, tc.query, seen, tc.seen)
		}
	}
}

// codings: which answers are encoded, and what their heads say then.
func (m *mallSite) codings(t *testing.T) {
	for _, tc := range []struct{ target, accept, encoding, tag string }{
		{"/?page", "gzip", "gzip", `W/"page"`},
		{"/?page", "gzip;q=0.5, *;q=0", "gzip", `W/"page"`},
		{"/?page", "identity, gzip;q=0.5", "", `"page"`},
		{"/?page", "gzip;q=0", "", `"page"`},
		{"/cart?page", "gzip", "", `"page"`},
	} {
		for _, address := range []string{m.envoy, m.front} {
			answer, _ := ask(address, "GET", "shop.example", tc.target, "Accept-Encoding: "+tc.accept)
			vary := strings.ToLower(answer.Header.Get("Vary"))
			if answer.Header.Get("Content-Encoding") != tc.encoding || answer.Header.Get("ETag") != tc.tag || (vary == "accept-encoding") != (tc.target == "/?page") {
				t.Errorf("%s %q at %s: %v", tc.target, tc.accept, address, answer.Header)
			}
		}
	}
}
