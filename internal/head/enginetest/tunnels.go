package enginetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/pillion-proxy/pillion/internal/head"
)

var tunnels = behaviours{
	"WebSocket":           testWebSocket,
	"UpgradeDeclined":     testUpgradeDeclined,
	"TunnelHalfClose":     testTunnelHalfClose,
	"ShutdownEndsTunnels": testShutdownEndsTunnels,
	"CloseEndsWhatIsOpen": testCloseEndsWhatIsOpen,
}

func echoWebSocket(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Pillion-Patch", "{}")
	c, err := websocket.Accept(w, req, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(req.Context())
		if err != nil {
			return
		}
		if err := c.Write(req.Context(), kind, message); err != nil {
			return
		}
	}
}

func (r *rig) websocket() (*websocket.Conn, *http.Response) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+r.addr+"/chat", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.CloseNow() })
	return c, res
}

func testWebSocket(t *testing.T, build Build) {
	f := &handler{response: func(_ *head.Exchange, h *head.Head) error {
		h.Fields.Add("Set-Cookie", "a=1")
		return nil
	}}
	r := startHTTP(t, build, f, head.EngineOptions{}, echoWebSocket)
	c, res := r.websocket()
	if res.Header.Get("Set-Cookie") != "a=1" || res.Header.Get("Pillion-Patch") != "" {
		t.Errorf("the 101 has %v", res.Header)
	}
	if !slices.Equal(r.seen(), []int{101}) {
		t.Errorf("the handler saw %v", r.seen())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for n := range 10 {
		sent := strings.Repeat(fmt.Sprint(n), 1<<n)
		if err := c.Write(ctx, websocket.MessageText, []byte(sent)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || string(got) != sent {
			t.Fatalf("%q, %v, want %q", got, err, sent)
		}
	}
	if r.ended.Load() != 0 {
		t.Error("End before the tunnel's end")
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	eventually(t, "End", func() bool { return r.ended.Load() == 1 })
}

// An app may decline to switch.
func testUpgradeDeclined(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "no") })
	res, body := r.get("/", "Connection", "Upgrade", "Upgrade", "websocket")
	if res.StatusCode != 200 || body != "no" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

// Each side may end its direction and still receive.
func testTunnelHalfClose(t *testing.T, build Build) {
	app := func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: count\r\n\r\nhello ")
		n, _ := io.Copy(io.Discard, r)
		fmt.Fprint(c, n)
	}
	r := startRaw(t, build, nil, head.EngineOptions{}, app)
	c := r.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: count\r\n\r\n")
	in := bufio.NewReader(c)
	if head, err := readHead(in); err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatalf("%q, %v", head, err)
	}
	fmt.Fprint(c, "12345")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(in); err != nil || string(got) != "hello 5" {
		t.Errorf("%q, %v", got, err)
	}
}

// Tunnels do not hold up a Shutdown, they end with it, and their connections count while they last.
func testShutdownEndsTunnels(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{Limits: head.Limits{Connections: 1}}, echoWebSocket)
	c, _ := r.websocket()
	second := r.dial() // waits in the kernel's queue for the tunnel to end
	_, _ = io.WriteString(second, ask)
	_ = second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); err == nil {
		t.Error("a second connection is served beside the tunnel")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.engine.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the tunnel outlived Shutdown: %v", err)
	}
	if begun, ended := r.begun.Load(), r.ended.Load(); begun != ended {
		t.Errorf("%d exchanges began and %d ended", begun, ended)
	}
	_ = second.SetReadDeadline(time.Now().Add(patience))
	if got, err := io.ReadAll(second); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 ") {
		t.Errorf("the queued request got %q, %v", got, err)
	}
}

// L10: a Handler ends a tunnel, or a stream of events, whose session ended.
func testCloseEndsWhatIsOpen(t *testing.T, build Build) {
	exchanges := make(chan *head.Exchange, 1)
	f := &handler{response: func(x *head.Exchange, _ *head.Head) error {
		exchanges <- x
		return nil
	}}
	left := make(chan struct{})
	r := startHTTP(t, build, f, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/chat" {
			echoWebSocket(w, req)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-req.Context().Done()
		close(left)
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, _ := r.websocket()
	f.closeOpen(<-exchanges)
	if _, _, err := c.Read(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the tunnel is still open: %v", err)
	}
	events := r.dial()
	_, _ = io.WriteString(events, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
	x := <-exchanges
	if _, err := readHead(bufio.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	f.closeOpen(x)
	_ = events.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(events); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the stream is still open")
	}
	<-left
	eventually(t, "End", func() bool { return r.ended.Load() == 2 })
}
