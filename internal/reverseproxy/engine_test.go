package reverseproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

const patience = 10 * time.Second

// fake is a session engine of test functions. It fails the test when the contract of head.Handler is broken.
type fake struct {
	t        *testing.T
	to       head.To
	request  func(*head.Exchange) *head.Reply
	response func(*head.Exchange, *head.Head) error
	trailer  func(*head.Exchange, *head.Head)

	begun, ended atomic.Int64
	mu           sync.Mutex
	statuses     []int   // of all heads seen by Response
	errs         []error // of all Ends
}

// state is what fake keeps in an exchange.
type state struct{ busy, ended atomic.Bool }

func (f *fake) enter(x *head.Exchange, what string) func() {
	s := x.Session.(*state)
	if s.busy.Swap(true) {
		f.t.Errorf("%s while another method of the exchange runs", what)
	}
	if s.ended.Load() {
		f.t.Errorf("%s after End", what)
	}
	return func() { s.busy.Store(false) }
}

func (f *fake) Request(x *head.Exchange) (head.To, *head.Reply) {
	f.begun.Add(1)
	x.Session = &state{}
	defer f.enter(x, "Request")()
	if f.request != nil {
		return f.to, f.request(x)
	}
	return f.to, nil
}

func (f *fake) Response(x *head.Exchange, h *head.Head) error {
	defer f.enter(x, "Response")()
	f.mu.Lock()
	f.statuses = append(f.statuses, h.Status)
	f.mu.Unlock()
	h.Fields.Keep(notPillion)
	if f.response != nil {
		return f.response(x, h)
	}
	return nil
}

func (f *fake) Trailer(x *head.Exchange, h *head.Head) {
	defer f.enter(x, "Trailer")()
	h.Fields.Keep(notPillion)
	if f.trailer != nil {
		f.trailer(x, h)
	}
}

func (f *fake) End(x *head.Exchange, err error) {
	f.enter(x, "End")()
	x.Session.(*state).ended.Store(true)
	f.mu.Lock()
	f.errs = append(f.errs, err)
	f.mu.Unlock()
	f.ended.Add(1)
}

func (f *fake) seen() []int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int(nil), f.statuses...)
}

// lastErr is what the last End was told.
func (f *fake) lastErr() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) == 0 {
		return nil
	}
	return f.errs[len(f.errs)-1]
}

func notPillion(name string) bool {
	return !strings.HasPrefix(strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(name)), "pillion-")
}

// rig is an engine before an app.
type rig struct {
	*fake
	t      *testing.T
	engine *Engine
	addr   string
}

// start serves o before the app at to; f may be nil.
func start(t *testing.T, to head.To, f *fake, o head.EngineOptions) *rig {
	t.Helper()
	if f == nil {
		f = &fake{}
	}
	f.t, f.to = t, to
	if o.Handler == nil {
		o.Handler = f
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{f, t, New(o), l.Addr().String()}
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
		if begun, ended := f.begun.Load(), f.ended.Load(); begun != ended {
			t.Errorf("%d exchanges began and %d ended", begun, ended)
		}
	})
	return r
}

// startHTTP serves an app of net/http behind an engine.
func startHTTP(t *testing.T, f *fake, o head.EngineOptions, app http.HandlerFunc) *rig {
	t.Helper()
	server := httptest.NewServer(app)
	t.Cleanup(server.Close)
	return start(t, tcp(server.Listener.Addr()), f, o)
}

// startRaw serves an app that is a function of a connection.
func startRaw(t *testing.T, f *fake, o head.EngineOptions, app func(net.Conn, *bufio.Reader)) *rig {
	t.Helper()
	return start(t, startListening(t, app), f, o)
}

func startListening(t *testing.T, app func(net.Conn, *bufio.Reader)) head.To {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
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
	answer, err := io.ReadAll(c)
	if err != nil {
		r.t.Fatalf("after %q: %v", answer, err)
	}
	return string(answer)
}

// get asks for path on a connection of its own.
func (r *rig) get(path string, fields ...string) (*http.Response, string) {
	r.t.Helper()
	return r.do(http.MethodGet, path, nil, fields...)
}

func (r *rig) do(method, path string, body io.Reader, fields ...string) (*http.Response, string) {
	r.t.Helper()
	req, err := http.NewRequest(method, "http://"+r.addr+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Add(fields[i], fields[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}, Timeout: patience}
	res, err := client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res, string(text)
}

// eventually polls until ok.
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

// TestMain fails when tests leave a goroutine of an engine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	var left string
	ticker := time.NewTicker(10 * time.Millisecond)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-ticker.C {
		if left = leftovers(); left == "" {
			os.Exit(code)
		}
	}
	fmt.Fprintf(os.Stderr, "goroutines left:\n%s\n", left)
	os.Exit(1)
}

func leftovers() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "reverseproxy.(*") || strings.Contains(stack, "httputil.") {
			return stack
		}
	}
	return ""
}
