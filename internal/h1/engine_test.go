package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pillion-proxy/pillion/internal/head"
)

// What only this engine does; internal/head/enginetest has what every engine must.

const patience = 10 * time.Second

// relay is a Handler that changes nothing.
type relay struct {
	to       head.To
	second   head.To // where what nobody took goes
	response func(*head.Head) error
	ended    chan error
}

func (h *relay) Request(*head.Exchange) (head.To, *head.Reply)   { return h.to, nil }
func (h *relay) Unreached(*head.Exchange) (head.To, *head.Reply) { return h.second, nil }
func (h *relay) Trailer(*head.Exchange, *head.Head)              {}

func (h *relay) Response(_ *head.Exchange, answer *head.Head) error {
	if h.response != nil {
		return h.response(answer)
	}
	return nil
}

func (h *relay) End(_ *head.Exchange, err error) {
	select {
	case h.ended <- err:
	default:
	}
}

// site is an engine before an app that is a function of a connection.
type site struct {
	*relay
	t      *testing.T
	engine *Engine
	addr   string
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serveRaw runs app for each connection and returns its address.
func serveRaw(t *testing.T, app func(net.Conn, *bufio.Reader)) head.To {
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
	return head.To{Network: "tcp", Address: l.Addr().String()}
}

func start(t *testing.T, o Options, app func(net.Conn, *bufio.Reader)) *site {
	t.Helper()
	l := listen(t)
	s := &site{&relay{to: serveRaw(t, app), ended: make(chan error, 100)}, t, nil, l.Addr().String()}
	if o.Handler == nil {
		o.Handler = s.relay
	}
	s.engine = New(o)
	go func() { _ = s.engine.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.engine.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

// startHTTP has an app of net/http.
func startHTTP(t *testing.T, o Options, app http.HandlerFunc) *site {
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	s := start(t, o, func(net.Conn, *bufio.Reader) {})
	s.to.Address = server.Listener.Addr().String()
	return s
}

func (s *site) dial() *net.TCPConn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// ask sends a request on c and returns the answer's status and body.
func (s *site) ask(c net.Conn, request string) (status int, body string) {
	s.t.Helper()
	if _, err := io.WriteString(c, request); err != nil {
		s.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatalf("after %q: %v", request, err)
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatalf("after %q: %v", request, err)
	}
	return res.StatusCode, string(text)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

// one is the connection that there is.
func (e *Engine) one() *conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.conns) != 1 {
		return nil
	}
	return e.conns[0]
}

const (
	get  = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
)

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, body, r.Header.Get("X-Forwarded-For"))
}

// A connection between requests gives its buffers and its goroutine's stack back, serves on, and ends by limits.idle all the same.
func TestIdleConnectionsAreParked(t *testing.T) {
	s := startHTTP(t, Options{EngineOptions: head.EngineOptions{Limits: head.Limits{Idle: time.Second}}}, echo)
	c := s.dial()
	for range 2 {
		if status, body := s.ask(c, get); status != 200 || body != "GET  127.0.0.1" {
			t.Fatalf("%d %q", status, body)
		}
		eventually(t, "parked", func() bool { c := s.engine.one(); return c != nil && c.step.phase() == parked })
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after limits.idle: %d, %v", n, err)
	}
}

// A client that has ended its direction gets its answer, if that does not take long.
func TestHalfClosedClients(t *testing.T) {
	wait := make(chan struct{})
	s := startHTTP(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/soon":
			<-time.After(watchAfter + halfClosed/4)
		case "/never":
			select {
			case <-r.Context().Done():
			case <-wait:
			}
		}
		fmt.Fprint(w, "answer")
	})
	defer close(wait)
	for path, want := range map[string]string{"/": "answer", "/soon": "answer", "/never": ""} {
		c := s.dial()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
		_ = c.CloseWrite()
		got, _ := io.ReadAll(c)
		if _, body, _ := strings.Cut(string(got), "\r\n\r\n"); body != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestProxyProtocol(t *testing.T) {
	s := startHTTP(t, Options{ProxyProtocol: true}, echo)
	if status, body := s.ask(s.dial(), "PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n"+get); status != 200 || body != "GET  192.0.2.7" {
		t.Errorf("%d %q", status, body)
	}
	if status, body := s.ask(s.dial(), "PROXY UNKNOWN\r\n"+get); status != 200 || body != "GET  127.0.0.1" {
		t.Errorf("%d %q", status, body)
	}
	c := s.dial()
	_, _ = io.WriteString(c, get)
	if got, _ := io.ReadAll(c); len(got) > 0 {
		t.Errorf("without a header: %q", got)
	}
}

// A body that stops coming, and an app that stops taking it, end their requests.
func TestSlowBodies(t *testing.T) {
	limits := head.EngineOptions{Limits: head.Limits{Idle: 50 * time.Millisecond}, UpstreamTimeout: 100 * time.Millisecond}
	s := startHTTP(t, Options{EngineOptions: limits}, echo)
	if status, body := s.ask(s.dial(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf"); status != 408 {
		t.Errorf("%d %q", status, body)
	}
	never := make(chan struct{})
	defer close(never)
	s = start(t, Options{EngineOptions: head.EngineOptions{UpstreamTimeout: 100 * time.Millisecond}}, func(net.Conn, *bufio.Reader) { <-never })
	c := s.dial()
	go func() {
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n")
		for chunk := make([]byte, 1<<20); ; {
			if _, err := c.Write(chunk); err != nil {
				return
			}
		}
	}()
	if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 504 {
		t.Errorf("%v, %v", res, err)
	}
}

// An app that closes its connections between requests fails none, POSTs included (P7).
func TestStaleConnectionsFailNothing(t *testing.T) {
	var closed atomic.Int64
	s := start(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		if req, err := http.ReadRequest(r); err == nil {
			_, _ = io.Copy(io.Discard, req.Body)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			_ = c.Close()
			closed.Add(1)
		}
	})
	c := s.dial()
	for i := range 200 {
		if status, body := s.ask(c, post); status != 200 || body != "ok" {
			t.Fatalf("request %d: %d %q", i, status, body)
		}
		eventually(t, "the app closes", func() bool { return closed.Load() == int64(i+1) })
	}
}

// What an app says unasked is no answer to the next request.
func TestUnaskedBytesAreNoAnswer(t *testing.T) {
	var said atomic.Int64
	s := start(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")
			said.Add(1)
		}
	})
	c := s.dial()
	for i := range 50 {
		if status, body := s.ask(c, post); status != 200 || body != "ok" {
			t.Fatalf("request %d: %d %q", i, status, body)
		}
		eventually(t, "the app speaks", func() bool { return said.Load() == int64(i+1) })
	}
}

// A request that nobody has executed goes on with its body, where that is still here.
func TestSmallBodiesAreSentAgain(t *testing.T) {
	s := startHTTP(t, Options{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	second := httptest.NewServer(http.HandlerFunc(echo))
	defer second.Close()
	s.second = head.To{Network: "tcp", Address: second.Listener.Addr().String()}
	s.response = func(h *head.Head) error {
		if h.Status == 503 {
			return head.ErrNotExecuted
		}
		return nil
	}
	if status, body := s.ask(s.dial(), post); status != 200 || body != "POST body 127.0.0.1" {
		t.Errorf("%d %q", status, body)
	}
}

// A Handler cannot add lines to a head.
func TestHandlersCannotAddLines(t *testing.T) {
	s := startHTTP(t, Options{}, echo)
	for _, bad := range []string{"x\r\nSet-Cookie: evil=1", "x\nEvil: 1", "x\r"} {
		s.response = func(h *head.Head) error {
			h.Fields.Add("X-A", bad)
			return nil
		}
		if status, body := s.ask(s.dial(), get); status != 500 || strings.Contains(body, "vil") {
			t.Errorf("%q: %d %q", bad, status, body)
		}
	}
}

// A shutdown ends a WebSocket with 1001, in the middle of a frame by closing.
func TestShutdownSaysGoodbye(t *testing.T) {
	closed := make(chan websocket.StatusCode, 1)
	s := startHTTP(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		_ = c.Write(r.Context(), websocket.MessageText, []byte("hello"))
		_, _, err = c.Read(r.Context())
		closed <- websocket.CloseStatus(err)
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "ws://"+s.addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(ctx); err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.engine.Shutdown(ctx) }()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the client sees %v", err)
	}
	if status := <-closed; status != websocket.StatusGoingAway {
		t.Errorf("the app sees %v", status)
	}
}

func TestShutdownInTheMiddleOfAFrame(t *testing.T) {
	s := start(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err == nil {
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x82\x0ahalf")
			_, _ = io.Copy(io.Discard, r)
		}
	})
	c := s.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	in := bufio.NewReader(c)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	if _, err := io.ReadFull(in, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := s.engine.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Errorf("%q, %v", rest, err)
	}
}
