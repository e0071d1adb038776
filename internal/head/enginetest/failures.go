package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var failures = behaviours{
	"AppFailures":                     testAppFailures,
	"AppDown":                         testAppDown,
	"TruncatedResponses":              testTruncatedResponses,
	"POSTIsNotSentTwice":              testPOSTIsNotSentTwice,
	"ClientLeaves":                    testClientLeaves,
	"ClientLeavesMidway":              testClientLeavesMidway,
	"MalformedBodyIsTheClientsFault":  testMalformedBodyIsTheClientsFault,
	"EarlyAnswer":                     testEarlyAnswer,
	"RequestAndResponseAtTheSameTime": testRequestAndResponseAtTheSameTime,
	"AccessLog":                       testAccessLog,
	"InjectedDial":                    testInjectedDial,
}

func testAppFailures(t *testing.T, build Build) {
	hang := func(c net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) }
	tests := []struct {
		name   string
		app    func(net.Conn, *bufio.Reader)
		status int
		token  string
	}{
		{"closes at once", func(net.Conn, *bufio.Reader) {}, 502, head.AppUnreachable},
		{"closes in the head", says("HTTP/1.1 200 OK\r\nContent-Le"), 502, head.AppUnreachable},
		{"not HTTP", says("SSH-2.0-OpenSSH\r\n"), 502, head.AppUnreachable},
		{"bad length", says("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), 502, head.AppUnreachable},
		{"head too long", says("HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 128<<10) + "\r\n\r\n"), 502, head.AppUnreachable},
		{"101 unasked", says("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"), 502, head.AppUnreachable},
		{"hangs", hang, 504, head.AppTimeout},
		{"hangs after a 103", func(c net.Conn, r *bufio.Reader) {
			_, _ = readHead(r)
			_, _ = io.WriteString(c, "HTTP/1.1 103 Early Hints\r\n\r\n")
			hang(c, r)
		}, 504, head.AppTimeout},
	}
	for _, test := range tests {
		var counted atomic.Value
		o := head.EngineOptions{UpstreamTimeout: 100 * time.Millisecond, OwnAnswer: func(token string) { counted.Store(token) }}
		r := startRaw(t, build, nil, o, test.app)
		res, _ := r.get("/")
		if res.StatusCode != test.status || !strings.HasPrefix(res.Header.Get("Proxy-Status"), "pillion; error="+test.token+"; ") {
			t.Errorf("%s: %d %v", test.name, res.StatusCode, res.Header)
		}
		if counted.Load() != test.token {
			t.Errorf("%s: counted %v", test.name, counted.Load())
		}
		for _, status := range r.seen() {
			if status >= 200 || status == 101 {
				t.Errorf("%s: the handler saw a %d", test.name, status)
			}
		}
	}
}

func testAppDown(t *testing.T, build Build) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, to := range []head.To{tcp(l.Addr()), {Network: "unix", Address: "/nonexistent/app.sock"}} {
		r := start(t, build, to, nil, head.EngineOptions{})
		res, body := r.do("POST", "/", strings.NewReader("body"))
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(res.Header.Get("Proxy-Status"), "error=app_unreachable") {
			t.Errorf("%v: %d %v", to, res.StatusCode, res.Header)
		}
		if strings.Contains(body+fmt.Sprint(res.Header), l.Addr().String()) {
			t.Errorf("%v: the client learns the app's address", to)
		}
	}
}

// A response that breaks off must not look whole, whatever framed it.
func testTruncatedResponses(t *testing.T, build Build) {
	for name, answer := range map[string]string{
		"length":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nok",
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
	} {
		r := startRaw(t, build, nil, head.EngineOptions{}, says(answer))
		req, _ := http.NewRequest(http.MethodGet, "http://"+r.addr, nil)
		if res, err := r.transport().RoundTrip(req); err == nil { // else even the head was held back
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("%s: %q looks whole", name, body)
			}
		}
		eventually(t, "End", func() bool { return r.ended.Load() == 1 })
		if !errors.Is(r.lastErr(), head.ErrTruncated) {
			t.Errorf("%s: End was told %v", name, r.lastErr())
		}
	}
}

// P7: what the app may have executed is not sent again.
func testPOSTIsNotSentTwice(t *testing.T, build Build) {
	var posts atomic.Int64
	app := func(c net.Conn, r *bufio.Reader) { // answers once, then takes a request and hangs up on it
		for n := 0; ; n++ {
			got, err := readHead(r)
			if err != nil {
				return
			}
			if strings.HasPrefix(got, "POST") {
				posts.Add(1)
			}
			if n > 0 {
				return
			}
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	}
	r := startRaw(t, build, nil, head.EngineOptions{}, app)
	for _, fields := range [][]string{nil, {"Idempotency-Key", "1"}, {"X-Idempotency-Key", "1"}} {
		for _, body := range []io.Reader{nil, strings.NewReader("body")} {
			r.get("/") // leaves a connection in the pool
			before := posts.Load()
			if res, _ := r.do("POST", "/", body, fields...); res.StatusCode != 502 {
				t.Errorf("%v: %d", fields, res.StatusCode)
			}
			if n := posts.Load() - before; n != 1 {
				t.Errorf("%v: the app got it %d times", fields, n)
			}
		}
	}
	r.get("/")
	if res, _ := r.get("/"); res.StatusCode != 200 { // on the dead connection, then on another
		t.Errorf("GET: %d", res.StatusCode)
	}
}

func testClientLeaves(t *testing.T, build Build) {
	inApp, left := make(chan struct{}), make(chan struct{})
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(_ http.ResponseWriter, req *http.Request) {
		close(inApp)
		<-req.Context().Done()
		close(left)
	})
	ctx, leave := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr, nil)
	go func() { _, _ = r.transport().RoundTrip(req) }()
	<-inApp
	leave()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the app was not told")
	}
	eventually(t, "End", func() bool { return r.ended.Load() == 1 })
	if !errors.Is(r.lastErr(), head.ErrClientGone) {
		t.Errorf("End was told %v", r.lastErr())
	}
}

// A client that leaves while its upload or its download is on the way ends the app's side too.
func testClientLeavesMidway(t *testing.T, build Build) {
	upload := make(chan error, 1)
	download := make(chan struct{}, 1)
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodPost {
			_, err := io.Copy(io.Discard, req.Body)
			upload <- err
			return
		}
		for req.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 32<<10)); err != nil {
				break
			}
		}
		download <- struct{}{}
	})
	ctx, leave := context.WithCancel(t.Context())
	in, half := io.Pipe()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.addr, in)
	req.ContentLength = 100
	go func() { _, _ = r.transport().RoundTrip(req) }()
	fmt.Fprint(half, "half")
	eventually(t, "the upload", func() bool { return r.begun.Load() == 1 })
	leave()
	if err := <-upload; err == nil {
		t.Error("the app took half a body for a whole one")
	}
	body := r.open("GET", "/", nil).Body
	_, _ = io.ReadFull(body, make([]byte, 64<<10))
	body.Close()
	select {
	case <-download:
	case <-time.After(patience):
		t.Fatal("the app writes on")
	}
	eventually(t, "both Ends", func() bool { return r.ended.Load() == 2 })
	if r.lastErr() == nil {
		t.Error("End was told that the whole response arrived")
	}
}

func testMalformedBodyIsTheClientsFault(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(io.Discard, req.Body) })
	got := r.raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || !strings.Contains(got, head.RequestRefused) {
		t.Errorf("%q", got)
	}
}

// The app may answer before it has the body, and the rest of that body is no request.
func testEarlyAnswer(t *testing.T, build Build) {
	var requests atomic.Int64
	app := func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			requests.Add(1)
			fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
			_ = c.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, r) // RFC 9112, section 9.6: closing now would reset the connection
		}
	}
	r := startRaw(t, build, nil, head.EngineOptions{}, app)
	c := r.dial()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n")
	go func() {
		smuggled := bytes.Repeat([]byte("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"), 1000)
		for range 300 {
			if _, err := c.Write(smuggled); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(res.Body); res.StatusCode != 413 || !res.Close || string(body) != "big" || err != nil {
		t.Errorf("%d %q %v", res.StatusCode, body, err)
	}
	c.Close()
	eventually(t, "End", func() bool { return r.ended.Load() == 1 })
	if n := requests.Load(); n != 1 {
		t.Errorf("the app got %d requests", n)
	}
}

func testRequestAndResponseAtTheSameTime(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		for in := bufio.NewScanner(req.Body); in.Scan(); {
			fmt.Fprintf(w, "echo %s\n", in.Text())
			_ = http.NewResponseController(w).Flush()
		}
	})
	in, out := io.Pipe()
	req, _ := http.NewRequest("POST", "http://"+r.addr, in)
	go func() { _, _ = io.WriteString(out, "0\n") }()
	res, err := r.transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for n := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("echo %d", n) {
			t.Fatalf("line %d: %q, %v", n, lines.Text(), lines.Err())
		}
		fmt.Fprintf(out, "%d\n", n+1)
	}
	_ = out.Close()
}

// session is a Handler's state that says something to the access log.
type session struct{}

func (*session) LogValue() slog.Value { return slog.GroupValue(slog.String("ref", "k3Jx9w")) }

func testAccessLog(t *testing.T, build Build) {
	var mu sync.Mutex
	var log bytes.Buffer
	locked := writerFunc(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return log.Write(p)
	})
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })
	h := &handler{}
	r := startHTTP(t, build, h, head.EngineOptions{Handler: logged{h}, AccessLog: true, Log: slog.New(slog.NewTextHandler(locked, nil))}, app)
	r.get("/path?token=secret", "Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-Request-Id", "r1")
	line := func() string { mu.Lock(); defer mu.Unlock(); return log.String() }
	eventually(t, "a line", func() bool { return line() != "" })
	for _, want := range []string{"method=GET", "path=/path ", "status=200", "bytes_out=5", "duration_ms=", "client=127.0.0.1", "ref=k3Jx9w",
		"request_id=r1", "trace_id=4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		if !strings.Contains(line(), want) {
			t.Errorf("%q is missing in %q", want, line())
		}
	}
	if strings.Contains(line(), "secret") {
		t.Errorf("the query is in %q", line())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// logged replaces the state of a handler.
type logged struct{ f *handler }

func (l logged) Request(x *head.Exchange) (head.To, *head.Reply) {
	x.Session = &session{}
	return l.f.to, nil
}
func (logged) Response(*head.Exchange, *head.Head) error { return nil }
func (logged) Trailer(*head.Exchange, *head.Head)        {}
func (logged) End(*head.Exchange, error)                 {}

// Dial may be anything that gives a connection.
func testInjectedDial(t *testing.T, build Build) {
	dial := func(_ context.Context, network, address string) (net.Conn, error) {
		ours, app := net.Pipe()
		go func() {
			defer app.Close()
			says("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+network+" "+address)(app, bufio.NewReader(app))
		}()
		return ours, nil
	}
	r := start(t, build, head.To{Network: "tcp", Address: "app.internal:81"}, nil, head.EngineOptions{Dial: dial})
	if _, body := r.get("/"); body != "tcp app.internal:81" {
		t.Errorf("dialed %q", body)
	}
}
