package enginetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var drains = behaviours{
	"DrainClosesConnectionsWithAnAnswer": testDrainClosesConnectionsWithAnAnswer,
	"ShutdownServesWhatHasArrived":       testShutdownServesWhatHasArrived,
	"DrainDropsNoRequest":                testDrainDropsNoRequest,
	"ShutdownGivesUp":                    testShutdownGivesUp,
	"ShutdownLeavesSilentConnections":    testShutdownLeavesSilentConnections,
	"TimeoutsOfClients":                  testTimeoutsOfClients,
	"ConnectionLimit":                    testConnectionLimit,
}

// While draining, everyone is served and asked to go.
func testDrainClosesConnectionsWithAnAnswer(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	c := r.dial()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.Close {
		t.Fatalf("before: %v, %v", res, err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	r.engine.Drain()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	rest, err := io.ReadAll(in)
	if err != nil || !strings.Contains(string(rest), "Connection: close\r\n") || !strings.HasSuffix(string(rest), "ok") {
		t.Errorf("while draining: %q, %v", rest, err)
	}
	if res, body := r.get("/"); res.StatusCode != 200 || body != "ok" {
		t.Errorf("a new connection: %d %q", res.StatusCode, body)
	}
}

// What is under way, or waits in the kernel's queue, is answered.
func testShutdownServesWhatHasArrived(t *testing.T, build Build) {
	inApp, release := make(chan struct{}, 100), make(chan struct{})
	r := startHTTP(t, build, nil, head.EngineOptions{Limits: head.Limits{Connections: 1}}, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/slow" {
			inApp <- struct{}{}
			<-release
		}
		fmt.Fprint(w, "served")
	})
	slow := r.dial()
	fmt.Fprint(slow, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	<-inApp
	queued := make([]net.Conn, 20) // the limit keeps them in the queue
	for i := range queued {
		queued[i] = r.dial()
		fmt.Fprint(queued[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	down := make(chan error, 1)
	go func() { down <- r.engine.Shutdown(context.Background()) }()
	for i, c := range queued {
		if got, err := io.ReadAll(c); err != nil || !strings.HasSuffix(string(got), "served") {
			t.Errorf("queued connection %d: %q, %v", i, got, err)
		}
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown left with a request under way: %v", err)
	default:
	}
	close(release)
	if got, err := io.ReadAll(slow); err != nil || !strings.HasSuffix(string(got), "served") {
		t.Errorf("the slow request: %q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if c, err := net.Dial("tcp", r.addr); err == nil {
		c.Close()
		t.Error("still listening")
	}
}

// Clients that come and go all the time lose no request to a drain. When the listener closes, one that connects at that very
// moment may be reset instead of refused; its request has reached nobody.
func testDrainDropsNoRequest(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		_, _ = w.Write(body)
	})
	var served atomic.Int64
	var closing atomic.Bool
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			transport := r.transport()
			transport.DisableKeepAlives = n%2 == 0
			for {
				req, _ := http.NewRequest("POST", "http://"+r.addr, strings.NewReader("body"))
				if !r.http2 { // where GOAWAY says which ones were not taken, and a client resends those
					req.GetBody = nil
				}
				res, err := transport.RoundTrip(req)
				if err != nil {
					if !closing.Load() || !atConnect(err) {
						t.Errorf("dropped: %v", err)
					}
					return
				}
				if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 || string(body) != "body" {
					t.Errorf("%d %q %v", res.StatusCode, body, err)
				}
				res.Body.Close()
				served.Add(1)
			}
		})
	}
	eventually(t, "traffic", func() bool { return served.Load() > 200 })
	r.engine.Drain()
	linger := served.Load() + 200
	eventually(t, "traffic while draining", func() bool { return served.Load() > linger })
	closing.Store(true)
	if err := r.engine.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	clients.Wait()
	if served.Load() != r.begun.Load() {
		t.Errorf("%d requests were begun and %d answered", r.begun.Load(), served.Load())
	}
}

// atConnect tells whether a listener refused or reset a connection; net/http calls a reset in the middle of a write ErrClosed.
func atConnect(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed)
}

// A deadline ends the patience with requests that do not end.
func testShutdownGivesUp(t *testing.T, build Build) {
	inApp := make(chan struct{})
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(_ http.ResponseWriter, req *http.Request) {
		close(inApp)
		<-req.Context().Done()
	})
	got := make(chan error, 1)
	go func() {
		req, _ := http.NewRequest(http.MethodGet, "http://"+r.addr, nil)
		res, err := r.transport().RoundTrip(req)
		if err == nil {
			err = fmt.Errorf("the client got %s", res.Status)
			res.Body.Close()
		} else {
			err = nil
		}
		got <- err
	}()
	<-inApp
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := r.engine.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	eventually(t, "End", func() bool { return r.ended.Load() == 1 })
	if err := <-got; err != nil {
		t.Error(err)
	}
	if err := r.engine.Serve(r.listen()); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// A browser's spare connection does not hold a Shutdown up.
func testShutdownLeavesSilentConnections(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(http.ResponseWriter, *http.Request) {})
	spare := r.dial()
	begin := time.Now()
	if err := r.engine.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if took := time.Since(begin); took > 3*head.FirstRequest {
		t.Errorf("Shutdown took %v", took)
	}
	if got, err := io.ReadAll(spare); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func (r *rig) listen() net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

func testTimeoutsOfClients(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{Limits: head.Limits{Idle: 50 * time.Millisecond, HeaderTimeout: 50 * time.Millisecond}},
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	for name, text := range map[string]string{
		"slow head":       "GET / HTTP/1.1\r\nHost",
		"silent":          "",
		"idle after one":  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"idle in the 2nd": "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT",
	} {
		c := r.dial()
		_, _ = io.WriteString(c, text)
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("%s: %v, want a closed connection", name, err)
		}
	}
}

func testConnectionLimit(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{Limits: head.Limits{Connections: 2}}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	first, second := r.dial(), r.dial()
	for _, c := range []net.Conn{first, second} {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
	}
	third := r.dial()
	fmt.Fprint(third, ask)
	_ = third.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := third.Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served")
	}
	_ = third.SetReadDeadline(time.Now().Add(patience))
	first.Close()
	if got, err := io.ReadAll(third); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 ") {
		t.Errorf("after one left: %q, %v", got, err)
	}
	r.engine.SetLimits(head.Limits{})
	for range 5 {
		if res, _ := r.get("/"); res.StatusCode != 200 {
			t.Errorf("without a limit: %d", res.StatusCode)
		}
	}
}
