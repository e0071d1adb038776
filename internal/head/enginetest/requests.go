package enginetest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

var requests = behaviours{
	"TargetStaysAsItCame":                  testTargetStaysAsItCame,
	"Authority":                            testAuthority,
	"HopByHopFieldsEndHere":                testHopByHopFieldsEndHere,
	"ConnectionCannotRemoveInjectedFields": testConnectionCannotRemoveInjectedFields,
	"Forwarded":                            testForwarded,
	"RequestTrailers":                      testRequestTrailers,
	"UnixSocket":                           testUnixSocket,
	"Refusals":                             testRefusals,
	"Health":                               testHealth,
	"HalfClosedClientGetsItsAnswer":        testHalfClosedClientGetsItsAnswer,
}

// P6: no byte of the target and the authority changes.
func testTargetStaysAsItCame(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, showHead)
	tests := []struct{ method, target, line string }{
		{"GET", "/", "/"},
		{"GET", "/%2e%2e//b%2F", "/%2e%2e//b%2F"},
		{"GET", "/a/../b/./c", "/a/../b/./c"},
		{"GET", "/?y=%zz&a;b", "/?y=%zz&a;b"},
		{"GET", "/q?", "/q?"},
		{"GET", "/q?a=1?b=/", "/q?a=1?b=/"},
		{"GET", "/a|b\"{}^`<>#\\", "/a|b\"{}^`<>#\\"},
		{"GET", "/\xc3\xa4", "/\xc3\xa4"},
		{"GET", "//host/path", "//host/path"},
		{"GET", "//host/%2f?x=%zz", "//host/%2f?x=%zz"},
		{"GET", "http://shop.example/p%61th?q", "/p%61th?q"},
		{"GET", "http://shop.example", "/"},
		{"GET", "http://shop.example?q", "/?q"},
		{"OPTIONS", "*", "*"},
		{"OPTIONS", "http://shop.example", "*"},
		{"REPORT", "/", "/"},
	}
	for _, test := range tests {
		got := r.raw(test.method + " " + test.target + " HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		if want := test.method + " " + test.line + " HTTP/1.1\r\nHost: shop.example\r\n"; !strings.Contains(body, want) {
			t.Errorf("%s: the app got %q, want %q", test.target, body, want)
		}
	}
}

func testAuthority(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, showHead)
	for _, test := range []struct{ request, want string }{
		{"GET / HTTP/1.1\r\nHost: Shop.Example:81\r\nConnection: close\r\n\r\n", "Host: Shop.Example:81\r\n"},
		{"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n", "Host: a.example\r\n"}, // RFC 9112, section 3.2.2
		{"GET / HTTP/1.0\r\n\r\n", "Host: localhost\r\n"},
	} {
		if got := r.raw(test.request); !strings.Contains(got, test.want) {
			t.Errorf("%q: the app got %q", test.request, got)
		}
	}
}

// H3, P5: what belongs to one connection ends here, and h2c is not offered on.
func testHopByHopFieldsEndHere(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, showHead)
	got := r.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Mine\r\nConnection: , HTTP2-Settings\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n" +
		"TE: trailers\r\nProxy-Authorization: x\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\nX-Kept: 1\r\n\r\n")
	_, body, _ := strings.Cut(got, "\r\n\r\n")
	lower := strings.ToLower(body)
	for _, gone := range []string{"x-mine", "keep-alive", "te:", "proxy-", "upgrade", "http2-settings", "connection", "user-agent"} {
		if strings.Contains(lower, gone) {
			t.Errorf("%s reached the app: %q", gone, body)
		}
	}
	if !strings.Contains(body, "X-Kept: 1\r\n") {
		t.Errorf("X-Kept is missing: %q", body)
	}
	got = r.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: h2c, chat/2\r\n\r\n")
	if !strings.Contains(got, "Upgrade: chat/2\r\n") || strings.Contains(got, "h2c") {
		t.Errorf("the app got %q", got)
	}
}

// H2, H4: a client's Connection field cannot remove what the Handler injects.
func testConnectionCannotRemoveInjectedFields(t *testing.T, build Build) {
	f := &handler{request: func(x *head.Exchange) *head.Reply {
		x.Request.Fields.Keep(notPillion)
		x.Request.Fields.Add("Pillion-Session", "{}")
		return nil
	}}
	r := startRaw(t, build, f, head.EngineOptions{}, showHead)
	got := r.raw("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Pillion-Session\r\nPillion-Session: forged\r\nPILLION_SESSION: forged\r\n\r\n")
	if strings.Count(got, "Pillion-Session: {}\r\n") != 1 || strings.Contains(got, "forged") {
		t.Errorf("the app got %q", got)
	}
}

// H12: who asked is said by us, or by a proxy we trust.
func testForwarded(t *testing.T, build Build) {
	sent := []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil", "X-Forwarded-Uri", "/admin",
		"X_Forwarded_For", "6.6.6.6", "Forwarded", "for=1.2.3.4"}
	tests := []struct {
		name    string
		trusted []netip.Prefix
		want    map[string]string
	}{
		{"stranger", nil, map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http"}},
		{"other prefix", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, map[string]string{"X-Forwarded-For": "127.0.0.1"}},
		{"trusted", []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, map[string]string{"X-Forwarded-For": "1.2.3.4, 127.0.0.1",
			"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "X-Forwarded-Uri": "/admin", "Forwarded": "for=1.2.3.4"}},
	}
	for _, test := range tests {
		var got http.Header
		r := startHTTP(t, build, nil, head.EngineOptions{TrustedProxies: test.trusted}, func(_ http.ResponseWriter, req *http.Request) { got = req.Header })
		r.get("/", sent...)
		for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Uri", "Forwarded"} {
			want, known := test.want[name]
			if !known && name == "X-Forwarded-Proto" {
				want = "http"
			}
			if got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", test.name, name, got.Get(name), want)
			}
		}
		if want := test.want["X-Forwarded-Host"]; want == "" && got.Get("X-Forwarded-Host") != r.addr {
			t.Errorf("%s: X-Forwarded-Host is %q, want %q", test.name, got.Get("X-Forwarded-Host"), r.addr)
		}
		for name := range got {
			if strings.Contains(name, "_") {
				t.Errorf("%s: %s reached the app", test.name, name)
			}
		}
	}
}

func testRequestTrailers(t *testing.T, build Build) {
	var got http.Header
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		got = req.Trailer
	})
	r.raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Pillion-Session\r\n\r\n" +
		"2\r\nab\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\nPillion-Session: forged\r\nPILLION_META: forged\r\nHost: evil\r\n\r\n")
	if want := (http.Header{"X-Sum": {"7"}, "X-Other": {"8"}}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the app got the trailers %v, want %v", got, want)
	}
}

func testUnixSocket(t *testing.T, build Build) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.Host) }))
	app.Listener.Close()
	app.Listener = l
	app.Start()
	t.Cleanup(app.Close)
	r := start(t, build, head.To{Network: "unix", Address: path}, nil, head.EngineOptions{})
	if _, body := r.get("/"); body != r.addr {
		t.Errorf("the app saw the host %q, want %q", body, r.addr)
	}
}

// P3, P6, DESIGN 8.
func testRefusals(t *testing.T, build Build) {
	reached := false
	var tokens []string
	o := head.EngineOptions{HealthPath: "/up", Limits: head.Limits{HeaderCount: 8, HeaderBytes: 4096}, OwnAnswer: func(token string) { tokens = append(tokens, token) }}
	r := startHTTP(t, build, nil, o, func(http.ResponseWriter, *http.Request) { reached = true })
	end := " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
	tests := []struct{ name, request, status string }{
		{"CONNECT", "CONNECT a:443" + end, "501"},
		{"TRACE", "TRACE /" + end, "501"},
		{"many fields", "GET /" + end + strings.Repeat("X-A: 1\r\n", 8), "431"},
		{"long fields", "GET /" + end + "X-A: " + strings.Repeat("a", 4096) + "\r\n", "431"},
		{"peer call", "POST /.well-known/pillion/peer/join" + end, "404"},
		{"peer call, dotted", "POST /x/../.well-known//pillion/%70eer/join" + end, "404"},
		{"peer call, no rest", "GET /.well-known/pillion/peer" + end, "404"},
	}
	for _, test := range tests {
		got := r.raw(test.request + "\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+test.status+" ") {
			t.Errorf("%s: %.60q, want %s", test.name, got, test.status)
		}
		if !strings.Contains(got, "Proxy-Status: pillion; error=http_request_error; details=") {
			t.Errorf("%s: no Proxy-Status in %q", test.name, got)
		}
	}
	if reached || r.begun.Load() != 0 {
		t.Error("a refused request went on")
	}
	if want := slices.Repeat([]string{head.RequestRefused}, len(tests)); !slices.Equal(tokens, want) {
		t.Errorf("counted %v, want %v", tokens, want)
	}
	r.engine.SetLimits(head.Limits{HeaderCount: 20})
	if res, _ := r.get("/", "X-A", strings.Repeat("a", 5000)); res.StatusCode != 200 {
		t.Errorf("after SetLimits: %d", res.StatusCode)
	}
}

func testHealth(t *testing.T, build Build) {
	healthy := true
	o := head.EngineOptions{HealthPath: "/.well-known/pillion/ready", Health: func() bool { return healthy }}
	r := startHTTP(t, build, nil, o, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "app") })
	if res, body := r.get("/.well-known/pillion/ready"); res.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthy: %d %q", res.StatusCode, body)
	}
	healthy = false
	if res, _ := r.get("/.well-known/pillion/ready?x"); res.StatusCode != 503 || !strings.Contains(res.Header.Get("Proxy-Status"), head.AppUnreachable) {
		t.Errorf("unhealthy: %d %v", res.StatusCode, res.Header)
	}
	healthy = true
	r.engine.Drain()
	res, _ := r.get("/.well-known/pillion/ready")
	if res.StatusCode != 503 || !res.Close && !r.http2 || !strings.Contains(res.Header.Get("Proxy-Status"), head.Draining) || res.Header.Get("Retry-After") == "" {
		t.Errorf("draining: %d %v", res.StatusCode, res.Header)
	}
	r.engine.Undrain()
	if res, _ := r.get("/.well-known/pillion/ready"); res.StatusCode != 200 {
		t.Errorf("undrained: %d", res.StatusCode)
	}
	if _, body := r.get("/.well-known/pillion/other"); body != "app" {
		t.Errorf("other path: %q", body)
	}
}

// A client that ends its own direction has asked, and listens.
func testHalfClosedClientGetsItsAnswer(t *testing.T, build Build) {
	release := make(chan struct{})
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			<-release
		}
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "got %s", body)
	})
	for text, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                                         "got ",
		"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n":                                     "got ",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody":               "got body",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "got ",
	} {
		c := r.dial()
		fmt.Fprint(c, text)
		_ = c.(*net.TCPConn).CloseWrite()
		if strings.Contains(text, "/slow") {
			eventually(t, "the slow request", func() bool { return r.begun.Load() > r.ended.Load() })
			close(release)
		}
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") || !strings.HasSuffix(string(got), want) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
