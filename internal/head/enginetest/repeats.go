package enginetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var repeats = behaviours{
	"RefusedGoesOn":             testRefusedGoesOn,
	"LostIsTheHandlersToDecide": testLostIsTheHandlersToDecide,
	"TimeoutIsNotLost":          testTimeoutIsNotLost,
	"NotExecutedGoesOn":         testNotExecutedGoesOn,
	"LoseGivesAnAnswerUp":       testLoseGivesAnAnswerUp,
	"LoseCutsNoAnswerOff":       testLoseCutsNoAnswerOff,
}

// repeater is a handler that knows one more way.
type repeater struct {
	*handler
	second          head.To
	unreached, lost atomic.Int64
}

func (r *repeater) Unreached(*head.Exchange) (head.To, *head.Reply) {
	r.unreached.Add(1)
	return r.second, nil
}

func (r *repeater) Lost(x *head.Exchange, whole bool) (head.To, *head.Reply) {
	r.lost.Add(1)
	if !whole {
		return head.To{}, head.Fail(502, head.AppUnreachable, "halved")
	}
	if x.Request.Method != http.MethodGet {
		return head.To{}, head.Fail(502, head.AppUnreachable, "lost")
	}
	return r.second, nil
}

// startTwo serves before a first app at to, and a second one that answers with what it got.
func startTwo(t *testing.T, build Build, to head.To, o head.EngineOptions) (*rig, *repeater) {
	t.Helper()
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %d", r.Method, len(body))
	}))
	t.Cleanup(second.Close)
	p := &repeater{handler: &handler{}, second: tcp(second.Listener.Addr())}
	o.Handler = p
	return start(t, build, to, p.handler, o), p
}

// Where nobody listened nothing was sent: any request goes on, with the whole of its body.
func testRefusedGoesOn(t *testing.T, build Build) {
	for _, c := range []struct {
		method string
		body   io.Reader
		fields []string
		want   string
	}{
		{"GET", nil, nil, "GET 0"},
		{"POST", strings.NewReader(strings.Repeat("x", 1<<20)), nil, "POST 1048576"},
		{"POST", strings.NewReader("held back"), []string{"Expect", "100-continue"}, "POST 9"},
		{"PUT", io.MultiReader(strings.NewReader("of unknown"), strings.NewReader(" length")), nil, "PUT 17"},
	} {
		r, p := startTwo(t, build, refusing(t), head.EngineOptions{})
		if res, body := r.do(c.method, "/", c.body, c.fields...); res.StatusCode != 200 || body != c.want || p.unreached.Load() != 1 {
			t.Errorf("%s: %d %q after %d repeats, want %q", c.method, res.StatusCode, body, p.unreached.Load(), c.want)
		}
	}
}

// large is more of a body than an engine would keep to send it again.
var large = strings.Repeat("x", 32<<10)

// P7: when the connection breaks the Handler decides, and knows whether the body is gone.
func testLostIsTheHandlersToDecide(t *testing.T, build Build) {
	for _, c := range []struct {
		method string
		body   io.Reader
		want   string
		asked  int64
	}{
		{"GET", nil, "200 GET 0", 1},
		{"POST", nil, "502 lost\n", 1},
		{"POST", strings.NewReader(large), "502 halved\n", 1},
	} {
		app := startListening(t, func(_ net.Conn, r *bufio.Reader) { _, _ = readHead(r) })
		r, p := startTwo(t, build, app, head.EngineOptions{})
		res, body := r.do(c.method, "/", c.body)
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); got != c.want || p.lost.Load() != c.asked || p.unreached.Load() != 0 {
			t.Errorf("%s: %q, asked %d times; want %q, %d", c.method, got, p.lost.Load(), c.want, c.asked)
		}
	}
}

// A Handler gives an answer up, and is asked what becomes of the request as if the connection had broken. Who was silent does not get it
// again, over whatever connection.
func testLoseGivesAnAnswerUp(t *testing.T, build Build) {
	for _, c := range []struct {
		method, interim string
		body            io.Reader
		want            string
	}{
		{"GET", "", nil, "200 GET 0"},
		{"GET", "HTTP/1.1 103 Early Hints\r\n\r\n", nil, "200 GET 0"},
		{"POST", "", nil, "502 lost\n"},
		{"POST", "", strings.NewReader(large), "502 halved\n"},
	} {
		var taken atomic.Int64
		first := startListening(t, func(conn net.Conn, r *bufio.Reader) {
			for {
				text, err := readHead(r)
				if err != nil {
					return
				}
				if strings.Contains(text, " /pooled ") {
					_, _ = io.WriteString(conn, plain)
					continue
				}
				_, _ = io.WriteString(conn, c.interim)
				taken.Add(1)
				_, _ = io.Copy(io.Discard, r)
				return
			}
		})
		r, p := startTwo(t, build, first, head.EngineOptions{})
		p.request = func(x *head.Exchange) *head.Reply {
			if x.Request.Target != "/pooled" {
				lose := x.Lose
				go func() {
					within(patience, func() bool { return taken.Load() > 0 && (c.interim == "" || slices.Contains(p.seen(), 103)) })
					lose()
				}()
			}
			return nil
		}
		r.get("/pooled")
		r.get("/pooled")
		res, body := r.do(c.method, "/", c.body)
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); got != c.want || p.lost.Load() != 1 || taken.Load() != 1 {
			t.Errorf("%s: %q, asked %d times, taken %d times; want %q", c.method, got, p.lost.Load(), taken.Load(), c.want)
		}
	}
}

// What has begun to come cannot be given up.
func testLoseCutsNoAnswerOff(t *testing.T, build Build) {
	var x *head.Exchange
	goOn := make(chan struct{})
	r, p := startTwo(t, build, startListening(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst")
		<-goOn
		_, _ = io.WriteString(c, "second")
	}), head.EngineOptions{})
	p.response = func(e *head.Exchange, _ *head.Head) error {
		e.Lose()
		x = e
		return nil
	}
	res := r.open("GET", "/", nil)
	if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	x.Lose()
	close(goOn)
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "second" || p.lost.Load() != 0 {
		t.Errorf("%q, %v, asked %d times", rest, err, p.lost.Load())
	}
}

// A slow app is not a lost one: the same work a second time would make it slower still.
func testTimeoutIsNotLost(t *testing.T, build Build) {
	app := startListening(t, func(_ net.Conn, r *bufio.Reader) { _, _ = io.Copy(io.Discard, r) })
	r, p := startTwo(t, build, app, head.EngineOptions{UpstreamTimeout: 20 * time.Millisecond})
	if res, _ := r.get("/"); res.StatusCode != http.StatusGatewayTimeout || p.lost.Load() != 0 {
		t.Errorf("%d, asked %d times", res.StatusCode, p.lost.Load())
	}
}

// An answer may say that nobody has executed the request: it goes on unless its body is gone.
func testNotExecutedGoesOn(t *testing.T, build Build) {
	for _, c := range []struct {
		method string
		body   io.Reader
		want   string
	}{
		{"GET", nil, "200 GET 0"}, {"POST", nil, "200 POST 0"}, {"POST", strings.NewReader(large), "503 sorry"},
	} {
		first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "sorry")
		}))
		t.Cleanup(first.Close)
		r, p := startTwo(t, build, tcp(first.Listener.Addr()), head.EngineOptions{})
		p.response = func(_ *head.Exchange, h *head.Head) error {
			if h.Status == http.StatusServiceUnavailable {
				h.Fields.Add("Edited", "yes")
				return head.ErrNotExecuted
			}
			return nil
		}
		res, body := r.do(c.method, "/", c.body)
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); got != c.want || (res.Header.Get("Edited") == "yes") != (res.StatusCode == 503) {
			t.Errorf("%s: %q %v, want %q", c.method, got, res.Header, c.want)
		}
	}
}
