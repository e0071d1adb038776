package reverseproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// wire is an app that keeps the bytes of every request it gets and answers each.
type wire struct {
	mu  sync.Mutex
	got []string
}

func (w *wire) serve(c net.Conn, r *bufio.Reader) {
	for {
		var raw bytes.Buffer
		req, err := http.ReadRequest(bufio.NewReader(io.TeeReader(oneByOne{r}, &raw)))
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		w.mu.Lock()
		w.got = append(w.got, raw.String())
		w.mu.Unlock()
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	}
}

func (w *wire) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// oneByOne keeps a reader above it from reading past one request.
type oneByOne struct{ io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.Reader.Read(p[:1]) }

const (
	host = "Host: a\r\nConnection: close\r\n"
	next = "GET /next HTTP/1.1\r\n" + host + "\r\n"
)

// P1-P4: what no HTTP server may take. The app sees nothing of it, and what follows on the connection is not served.
func TestHostileRequestsAreRefused(t *testing.T) {
	w := &wire{}
	r := startRaw(t, nil, head.EngineOptions{}, w.serve)
	post := "POST / HTTP/1.1\r\nHost: a\r\n"
	tests := []struct{ name, request, status string }{
		{"differing lengths", post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody", "400"},
		{"list of lengths", post + "Content-Length: 4, 4\r\n\r\nbody", "400"},
		{"signed length", post + "Content-Length: +4\r\n\r\nbody", "400"},
		{"negative length", post + "Content-Length: -4\r\n\r\nbody", "400"},
		{"hexadecimal length", post + "Content-Length: 0x4\r\n\r\nbody", "400"},
		{"unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
		{"coded before chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"},
		{"chunked twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "501"},
		{"identity", post + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n", "501"},
		{"space before colon", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"},
		{"space in a name", post + "X A: 1\r\n\r\n", "400"},
		{"no name", post + ": 1\r\n\r\n", "400"},
		{"no colon", post + "X-A\r\n\r\n", "400"},
		{"NUL in a value", post + "X-A: a\x00b\r\n\r\n", "400"},
		{"CR in a value", post + "X-A: a\rb\r\n\r\n", "400"},
		{"fold at the start", "GET / HTTP/1.1\r\n X-A: 1\r\nHost: a\r\n\r\n", "400"},
		{"bad method", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
		{"unknown version", "GET / HTTP/3.1\r\nHost: a\r\n\r\n", "505"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400"},
		{"bad host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
		{"unknown expectation", post + "Expect: tea\r\nContent-Length: 4\r\n\r\nbody", "417"},
	}
	for _, test := range tests {
		got := r.raw(test.request + next)
		if !strings.HasPrefix(got, "HTTP/1.1 "+test.status+" ") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q, want one %s", test.name, got, test.status)
		}
		if app := w.take(); len(app) > 0 {
			t.Errorf("%s: the app got %q", test.name, app)
		}
	}
}

// A malformed chunked body shows only when it is read, at the app's time. Its request fails and nothing follows it.
func TestMalformedChunks(t *testing.T) {
	w := &wire{}
	r := startRaw(t, nil, head.EngineOptions{}, w.serve)
	for name, body := range map[string]string{
		"bad size":      "zz\r\nbody\r\n0\r\n\r\n",
		"huge size":     "fffffffffffffffff\r\nbody\r\n0\r\n\r\n",
		"bare LF":       "4\nbody\r\n0\r\n\r\n",
		"LF in ext":     "4;a\nb\r\nbody\r\n0\r\n\r\n",
		"no CRLF after": "4\r\nbodyX0\r\n\r\n",
		"bad trailer":   "0\r\nX-A\r\n\r\n",
	} {
		got := r.raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body + next)
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") || strings.Count(got, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: %q, want one 400", name, got)
		}
		if app := w.take(); len(app) > 0 {
			t.Errorf("%s: the app got %q", name, app)
		}
	}
}

// What is allowed and often wrong reaches the app in one plain form.
func TestRequestsAreWrittenAnew(t *testing.T) {
	w := &wire{}
	r := startRaw(t, nil, head.EngineOptions{}, w.serve)
	tests := []struct{ name, request, want string }{
		{"same length twice", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nContent-Length: 4\r\n\r\nbody", "Content-Length: 4\r\n"},
		{"chunk extensions", "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: Chunked\r\n\r\n4;a=b\r\nbody\r\n0;c\r\n\r\n", "Transfer-Encoding: chunked\r\n"},
		{"space around values", "GET / HTTP/1.1\r\n" + host + "X-A: \t a \t \r\n\r\n", "X-A: a\r\n"},
	}
	for _, test := range tests {
		got, app := r.raw(test.request), w.take()
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || len(app) != 1 || strings.Count(app[0], test.want) != 1 {
			t.Errorf("%s: %q, the app got %q, want %q", test.name, got, app, test.want)
		}
	}
}

// Expected failures. net/http decides; internal/h1 will refuse, or do what `wanted` says. Each row asserts what happens today,
// so that it turns red when that changes, and that it does no harm: the app sees one request in one plain form.
func TestNetHTTPDecides(t *testing.T) {
	w := &wire{}
	r := startRaw(t, nil, head.EngineOptions{}, w.serve)
	chunked := "Transfer-Encoding: chunked\r\n"
	tests := []struct {
		name, request string
		wanted        string
		status        string // today; "" is a connection closed without an answer
		app           string // today, in what the app gets
		never         string // must not be in it
	}{
		{"length and chunked", "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\n" + chunked + "\r\n0\r\n\r\n", "400", "200", chunked, "Content-Length"},
		{"chunked in HTTP/1.0", "POST / HTTP/1.0\r\n" + host + chunked + "\r\n4\r\nbody\r\n0\r\n\r\n", "400", "200", "POST / HTTP/1.1\r\n", "body"},
		{"bare LF", "GET / HTTP/1.1\nHost: a\nConnection: close\nX-A: 1\n\n", "400", "200", "X-A: 1\r\n", "X-A: 1\n"},
		{"obs-fold", "GET / HTTP/1.1\r\n" + host + "X-A: 1\r\n 2\r\n\r\n", "400", "200", "X-A: 1 2\r\n", "\r\n "},
		{"space in a trailer's name", "POST / HTTP/1.1\r\n" + host + chunked + "\r\n0\r\nX A: 1\r\n\r\n", "400", "200", "\r\n0\r\n\r\n", "X A"},
		{"order and spelling of names", "GET / HTTP/1.1\r\nx-b: 1\r\n" + host + "X-a: 2\r\n\r\n", "as sent", "200", "X-A: 2\r\nX-B: 1\r\n", "x-b"},
		{"two slashes and a forbidden character", "GET //a|b HTTP/1.1\r\n" + host + "\r\n", "//a|b", "200", "GET //a%7Cb ", "a|b"},
	}
	for _, test := range tests {
		got, app := r.raw(test.request), w.take()
		if !strings.HasPrefix(strings.Replace(got, "HTTP/1.0", "HTTP/1.1", 1), "HTTP/1.1 "+test.status+" ") {
			t.Errorf("%s: %.40q, today %s (wanted: %s)", test.name, got, test.status, test.wanted)
		}
		if len(app) != 1 || !strings.Contains(app[0], test.app) || strings.Contains(app[0], test.never) {
			t.Errorf("%s: the app got %q, today one request with %q", test.name, app, test.app)
		}
	}
	if got := r.raw("GET / HTTP/1.1\r\n\r\n"); strings.Contains(got, "Proxy-Status") { // wanted: as on all own answers
		t.Errorf("net/http's own 400 is %q", got)
	}
	c := r.dial() // wanted: a client that ended its direction gets its answer
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || strings.Contains(string(got), "ok") && len(w.take()) != 1 {
		t.Errorf("half-close: %q, %v", got, err) // the answer or none, depending on who is faster
	}
}

// The same for what apps answer.
func TestNetHTTPDecidesAboutAnswers(t *testing.T) {
	tests := []struct{ name, answer, wanted, today, never string }{
		{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "502", "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "Content-Length"},
		{"bare LF", "HTTP/1.1 200 OK\nX-A: 1\nContent-Length: 2\n\nok", "502", "X-A: 1\r\n", "X-A: 1\n"},
		{"obs-fold", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nok", "502", "X-A: 1 2\r\n", "\r\n "},
		{"named beside close", "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nok", "X-Hop removed", "X-Hop: 1\r\n", "Connection: close, X-Hop"},
	}
	for _, test := range tests {
		got := startRaw(t, nil, head.EngineOptions{}, says(test.answer)).raw(ask)
		if !strings.HasPrefix(got, "HTTP/1.1 200 ") || !strings.Contains(got, test.today) || strings.Contains(got, test.never) {
			t.Errorf("%s: %q, today with %q (wanted: %s)", test.name, got, test.today, test.wanted)
		}
	}
}
