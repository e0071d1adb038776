package enginetest

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// rig is an engine before an app.
type rig struct {
	*handler
	t      testing.TB
	engine Engine
	http2  bool // is what clients speak
	addr   string

	interims atomic.Int64 // 1xx that open has got
}

// start serves what build makes of o before the app at to; h may be nil.
func start(t testing.TB, build Build, to head.To, h *handler, o head.EngineOptions) *rig {
	t.Helper()
	if h == nil {
		h = &handler{}
	}
	h.t, h.to = t, to
	if o.Handler == nil {
		o.Handler = h
	}
	l := listen(t)
	r := &rig{handler: h, t: t, engine: build(o), addr: l.Addr().String()}
	_, r.http2 = r.engine.(spokenTo)
	served := make(chan error, 1)
	go func() { served <- r.engine.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.engine.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if begun, ended := h.begun.Load(), h.ended.Load(); begun != ended {
			t.Errorf("%d exchanges began and %d ended", begun, ended)
		}
	})
	return r
}

// startHTTP serves an app of net/http behind an engine.
func startHTTP(t testing.TB, build Build, h *handler, o head.EngineOptions, app http.HandlerFunc) *rig {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return start(t, build, tcp(server.Listener.Addr()), h, o)
}

// startRaw serves an app that is a function of a connection.
func startRaw(t testing.TB, build Build, h *handler, o head.EngineOptions, app func(net.Conn, *bufio.Reader)) *rig {
	t.Helper()
	return start(t, build, startListening(t, app), h, o)
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// startListening runs app on each connection and says where it listens.
func startListening(t testing.TB, app func(net.Conn, *bufio.Reader)) head.To {
	t.Helper()
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				app(c, bufio.NewReader(c))
			}()
		}
	}()
	return tcp(l.Addr())
}

func tcp(a net.Addr) head.To { return head.To{Network: "tcp", Address: a.String()} }

// refusing is an address where nobody listens.
func refusing(t testing.TB) head.To {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return tcp(l.Addr())
}

// dial opens a connection that the test's end closes.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c
}

// raw sends text, which must make the engine close the connection, and returns all that came back.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c := r.dial()
	if _, err := io.WriteString(c, text); err != nil {
		r.t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		r.t.Fatalf("after %q: %v", got, err)
	}
	return string(got)
}

// get asks for path on a connection of its own.
func (r *rig) get(path string, fields ...string) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, nil, fields...)
}

func (r *rig) do(method, path string, body io.Reader, fields ...string) (*http.Response, string) {
	r.t.Helper()
	res := r.open(method, path, body, fields...)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(text)
}

// transport makes the client's side of a connection, or of more.
func (r *rig) transport() *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!r.http2)
	protocols.SetUnencryptedHTTP2(r.http2)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true, ExpectContinueTimeout: patience}
	r.t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// open asks on a connection of its own. The body of the answer is still to come.
func (r *rig) open(method, path string, body io.Reader, fields ...string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.addr+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	trace := &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		r.interims.Add(1)
		return nil
	}}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	transport := r.transport()
	transport.DisableKeepAlives = true
	client := &http.Client{Transport: transport, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	return res
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !within(patience, ok) {
		t.Fatalf("not in time: %s", what)
	}
}

// within polls until ok, and tells whether it was in time.
func within(limit time.Duration, ok func() bool) bool {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); <-ticker.C {
		if ok() {
			return true
		}
	}
	return false
}
