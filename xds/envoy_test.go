package xds

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// site is a control plane, an Envoy that follows it, and sidecars a1 and a2 of the app shop.
type site struct {
	plane    *plane
	envoy    *envoy
	services string // file
	url      string
	a1, a2   *backend
	visitor
}

func bothModes(t *testing.T, test func(t *testing.T, delta bool)) {
	for _, mode := range []string{"delta", "sotw"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			test(t, mode == "delta")
		})
	}
}

func startSite(t *testing.T, delta bool) *site {
	t.Helper()
	envoyBinary(t)
	port := freePort(t)
	s := &site{services: filepath.Join(t.TempDir(), "services.yaml"), url: fmt.Sprintf("http://127.0.0.1:%d", port)}
	write(t, s.services, fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	s.plane = startPlane(t, "", Options{Services: s.services})
	s.a1, s.a2 = startBackend(t, "shop", "a1", s.plane.address), startBackend(t, "shop", "a2", s.plane.address)
	s.envoy = startEnvoy(t, Bootstrap{ControlPlanes: []string{s.plane.address}, Delta: delta})
	s.visitor = newVisitor(t, s.url)
	for _, b := range []*backend{s.a1, s.a2} {
		eventually(t, b.Sidecar.Route+" is in Envoy", func() bool { return s.envoy.health(b.Sidecar.Address) == "healthy" })
	}
	return s
}

func TestEnvoyServes(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		s := startSite(t, delta)
		t.Run("sticky", s.sticky)
		t.Run("gzip", s.gzip)
		t.Run("websocket", s.websocket)
		t.Run("retries", s.retries)
		t.Run("access log", s.accessLog)
		s.envoy.accepted()
	})
}

// sticky: by the route in the session id, without a second cookie.
func (s *site) sticky(t *testing.T) {
	for _, tc := range []struct{ cookies, want string }{
		{session("a1"), "a1"},
		{session("a2"), "a2"},
		{"x=1; " + session("a2") + "; y=token-n1.a1", "a2"},
		{"x=1;" + session("a2"), "a2"},
		{"X" + session("a1") + "; " + session("a2"), "a2"},
		{`__Host-psid="token-n1.a2"`, "a2"},
		{"__HostXpsid=token-n1.a1; " + session("a2"), "a2"},
		{session("gone") + "; " + session("a2"), "a2"},
	} {
		for range 10 {
			answer := s.do("GET", "/", tc.cookies)
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if string(body) != tc.want {
				t.Fatalf("%q went to %s, want %s", tc.cookies, body, tc.want)
			}
			if set := answer.Header["Set-Cookie"]; len(set) > 0 {
				t.Fatalf("a second cookie: %q", set)
			}
		}
	}
	for _, cookies := range []string{"", session("gone"), "a;b;=;;", cookie, cookie + "=", cookie + "=.", "Y" + session("a1")} {
		seen := map[string]bool{}
		for range 10 {
			status, body := s.ask("GET", "/", cookies)
			if status != 200 {
				t.Fatalf("%q got %d", cookies, status)
			}
			seen[body] = true
		}
		if len(seen) != 2 {
			t.Errorf("%q is not balanced: %v", cookies, seen)
		}
	}
}

func (s *site) gzip(t *testing.T) {
	r, _ := http.NewRequestWithContext(t.Context(), "GET", s.url+"/big", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	answer, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(answer.Header.Get("Vary"), "Accept-Encoding") {
		t.Fatalf("header %v", answer.Header)
	}
	if tag := answer.Header.Get("ETag"); tag != `W/"big"` { // the same page, not the same bytes
		t.Errorf("ETag %s", tag)
	}
	plain, err := gzip.NewReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(plain); err != nil || len(text) != 10400 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func (s *site) websocket(t *testing.T) {
	for _, route := range []string{"a1", "a2"} {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		c, _, err := websocket.Dial(ctx, s.url+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {session(route)}}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.CloseNow() }()
		if err := c.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, text, err := c.Read(ctx); err != nil || string(text) != route+" hello" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

// retries: what an app may have executed is repeated for safe methods only, and elsewhere; what it was not sent, for all.
func (s *site) retries(t *testing.T) {
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
		a1           int64 // requests that a1 gets
	}{
		{"GET", "/break-a1", 200, "a2", 1},
		{"POST", "/break-a1", 503, "", 1},
		{"PUT", "/break-a1", 503, "", 1},
		{"POST", "/unexecuted-a1", 200, "a2", 1},
		{"GET", "/unexecuted-a1", 200, "a2", 1},
	} {
		one, two := s.a1.requests.Load(), s.a2.requests.Load()
		answer := s.do(tc.method, tc.path, session("a1"))
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != tc.status || tc.body != "" && string(body) != tc.body {
			t.Errorf("%s %s: %d %q", tc.method, tc.path, answer.StatusCode, body)
		}
		if answer.Header.Get("Pillion-Not-Executed") != "" {
			t.Errorf("%s %s: the internal field reaches the visitor", tc.method, tc.path)
		}
		one, two = s.a1.requests.Load()-one, s.a2.requests.Load()-two
		if one != tc.a1 || tc.status != 200 && two != 0 {
			t.Errorf("%s %s: a1 had %d requests, a2 %d", tc.method, tc.path, one, two)
		}
	}
	if r := s.do("POST", "/unexecuted-a1", session("a1")); r.Header.Get("Pillion-Not-Executed") != "" {
		t.Error("the internal field reaches the visitor")
	}
}

func (s *site) accessLog(t *testing.T) {
	s.ask("GET", "/logged?token=secret", session("a1"))
	var line string
	eventually(t, "the request is logged", func() bool {
		for text := range strings.Lines(s.envoy.log.String()) {
			if strings.Contains(text, `"/logged"`) {
				line = text
			}
		}
		return line != ""
	})
	for _, want := range []string{`"app":"shop"`, `"sidecar":"` + s.a1.Sidecar.Address + `"`, `"status":200`, `"method":"GET"`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	if strings.Contains(line, "secret") || strings.Contains(line, "token-n1") {
		t.Errorf("the access log has secrets: %s", line)
	}
}

func TestEnvoyFollowsTheFleet(t *testing.T) {
	bothModes(t, func(t *testing.T, delta bool) {
		s := startSite(t, delta)
		t.Run("drained", s.drained)
		t.Run("killed", s.killed)
		t.Run("second stream", s.secondStream)
		t.Run("broken services", s.brokenServices)
		t.Run("times", s.times)
		s.envoy.accepted()
	})
}

// drained: the word comes in milliseconds, and then no visitor does.
func (s *site) drained(t *testing.T) {
	a3 := startBackend(t, "shop", "a3", s.plane.address)
	s.until("/", session("a3"), "a3")
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	start := time.Now()
	if err := a3.client.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	t.Logf("drained after %v", time.Since(start))
	if flags := s.envoy.health(a3.Sidecar.Address); flags != "/eds_status_draining" {
		t.Errorf("envoy says %q", flags)
	}
	before := a3.requests.Load()
	for range 50 {
		if status, body := s.ask("GET", "/", session("a3")); status != 200 || body == "a3" {
			t.Fatalf("%d %s", status, body)
		}
	}
	if n := a3.requests.Load() - before; n != 0 {
		t.Errorf("%d requests after the drain", n)
	}
	a3.client.SetDraining(false) // undrain
	s.until("/", session("a3"), "a3")
	if err := a3.client.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	a3.cancel()
	eventually(t, "it is gone", func() bool { return s.envoy.health(a3.Sidecar.Address) == "" })
}

// killed: visitors of a dead sidecar get answers from another one, also before anybody knows of the death.
func (s *site) killed(t *testing.T) {
	a3 := startBackend(t, "shop", "a3", s.plane.address)
	s.until("/", session("a3"), "a3")
	a3.kill()
	for i := range 60 {
		if status, body := s.ask([]string{"GET", "POST"}[i%2], "/", session("a3")); status != 200 || body == "a3" {
			t.Fatalf("request %d: %d %s", i, status, body)
		}
	}
	eventually(t, "it is gone", func() bool { return s.envoy.health(a3.Sidecar.Address) == "" })
}

// secondStream: a restarted sidecar takes its route, and the end of its older stream takes nothing away.
func (s *site) secondStream(t *testing.T) {
	old := startBackend(t, "shop", "a3", s.plane.address)
	s.until("/", session("a3"), "a3")
	fresh := startBackend(t, "shop", "a3", s.plane.address)
	eventually(t, "the newer has the route", func() bool {
		return s.envoy.health(fresh.Sidecar.Address) == "healthy" && s.envoy.health(old.Sidecar.Address) == ""
	})
	old.kill()
	for range 20 {
		if status, body := s.ask("GET", "/", session("a3")); status != 200 || body != "a3" {
			t.Fatalf("%d %s", status, body)
		}
	}
	if s.envoy.health(fresh.Sidecar.Address) != "healthy" {
		t.Error("the end of the older stream took the newer endpoint away")
	}
	fresh.client.SetDraining(true)
	eventually(t, "it drains", func() bool { return s.envoy.health(fresh.Sidecar.Address) == "/eds_status_draining" })
	fresh.kill()
}

// brokenServices: a services file with mistakes changes nothing, and the fleet is followed meanwhile.
func (s *site) brokenServices(t *testing.T) {
	good := s.plane.services.Load()
	write(t, s.services, "apps: {shop: {prefix: nowhere, retries: 99}}\n")
	eventually(t, "the mistakes are reported", func() bool {
		log := s.plane.log.String()
		return strings.Contains(log, "prefix") && strings.Contains(log, "retries") && strings.Contains(log, "the old one stays")
	})
	a3 := startBackend(t, "shop", "a3", s.plane.address)
	s.until("/", session("a3"), "a3")
	write(t, s.services, fmt.Sprintf("apps: {shop: {prefix: /, retries: 2}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", good.Listeners[0].Port))
	eventually(t, "the good file is taken", func() bool { r := s.plane.services.Load().Apps["shop"].Retries; return r != nil && *r == 2 })
	a3.client.SetDraining(true)
	eventually(t, "it drains", func() bool { return s.envoy.health(a3.Sidecar.Address) == "/eds_status_draining" })
	a3.kill()
}

// times prints how long a fleet change takes to Envoy; the bound is generous for a loaded machine.
func (s *site) times(t *testing.T) {
	var open, drain, gone time.Duration
	const n = 10
	for range n {
		a3 := startBackend(t, "shop", "a3")
		start := time.Now()
		a3.register(nil, s.plane.address)
		eventually(t, "endpoint in Envoy", func() bool { return s.envoy.health(a3.Sidecar.Address) != "" })
		open += time.Since(start)
		a3.client.SetDraining(true)
		drain += timed(t, "draining in Envoy", func() bool { return s.envoy.health(a3.Sidecar.Address) == "/eds_status_draining" })
		a3.cancel()
		gone += timed(t, "gone from Envoy", func() bool { return s.envoy.health(a3.Sidecar.Address) == "" })
		_ = a3.server.Close()
	}
	t.Logf("mean of %d, polled: stream open -> endpoint in Envoy %v, draining %v, stream closed -> gone %v", n, open/n, drain/n, gone/n)
	if open/n > time.Second {
		t.Errorf("an endpoint takes %v", open/n)
	}
}
