package sidecar_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// The P rows that the HTTP engine decides, as far as a session could suffer; internal/head/enginetest has the rest byte by byte.

// P1-P4, P6: a request that is refused never reaches the app nor the ring.
func TestP1P2P3P4P6RefusedRequests(t *testing.T) {
	limits := func(s *setup) { s.http.Limits = head.Limits{HeaderCount: 20, HeaderBytes: 2000} }
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		wait(time.Second)
		f.operations()
		cookie := "Cookie: __Host-psid=" + v.id()
		many := strings.Split(strings.Repeat("X-Many: 1\n", 30), "\n")
		for _, row := range []struct {
			name, method, target string
			lines                []string
			status               int
		}{
			{"P1 differing lengths", "POST", "/", []string{"Content-Length: 4", "Content-Length: 5"}, 400},
			{"P1 unknown coding", "POST", "/", []string{"Transfer-Encoding: xchunked"}, 501},
			{"P3 too many fields", "GET", "/", many[:30], 431},
			{"P3 too long fields", "GET", "/", []string{"X-Long: " + strings.Repeat("x", 3000)}, 431},
			{"P4 space before the colon", "GET", "/", []string{"Pillion-Session : {}"}, 400},
			{"P4 no name", "GET", "/", []string{": {}"}, 400},
			{"P6 TRACE", "TRACE", "/", nil, 501},
			{"P6 CONNECT", "CONNECT", "shop.test:443", nil, 501},
			{"peer path", "POST", "/.well-known/pillion/peer/ask", nil, 404},
			{"peer path in disguise", "POST", "/x/../.well-known/pillion/peer/ask", nil, 404},
		} {
			text, name := p.request(row.method, row.target, op("destroy"), append(row.lines, cookie)...)
			resp := p.raw(browser, text)
			if resp == nil || resp.StatusCode != row.status || f.app.request(name) != nil {
				t.Errorf("%s: %v, the app got %v", row.name, resp, f.app.request(name))
			}
		}
		if n := f.operations(); n != 0 {
			t.Errorf("%d operations", n)
		}
		v.must(`{"a":1}`)
	}, limits)
}

// P1: two framings of one body are no request, and nothing that hides behind it is one.
func TestP1LengthAndChunked(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		hidden := f.app.add(op("destroy"))
		text, name := p.request("POST", "/", says(), "Content-Length: 4", "Transfer-Encoding: chunked", "Connection: close")
		resp := p.raw(browser, text+"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: shop.test\r\n"+scriptField+": "+hidden+"\r\n\r\n")
		if got := f.app.request(name); got != nil || resp == nil || resp.StatusCode != 400 {
			t.Errorf("%v, the app got %+v", resp, got)
		}
		if f.app.request(hidden) != nil {
			t.Error("the hidden request was served")
		}
	})
}

// P5: an Upgrade that the app does not take is an answer like any other; h2c is not offered to it.
func TestP5Upgrades(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		for _, row := range []struct{ offer, app string }{{"websocket", "websocket"}, {"h2c", ""}, {"h2c, websocket", "websocket"}} {
			text, name := p.request("GET", "/", patch(`{"a":1}`), "Connection: Upgrade, HTTP2-Settings", "Upgrade: "+row.offer, "HTTP2-Settings: AAMAAABkAAQAAP__")
			resp := p.raw(browser, text)
			got := f.app.request(name)
			if resp == nil || resp.StatusCode != 200 || resp.Header.Get("Set-Cookie") == "" {
				t.Errorf("%s: %v", row.offer, resp)
			}
			if got.Header.Get("Upgrade") != row.app || got.Header["Http2-Settings"] != nil {
				t.Errorf("%s: the app gets %v", row.offer, got.Header)
			}
		}
		text, _ := p.request("GET", "/", func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nPillion-Patch: {\"a\":1}\r\n\r\n")
				_ = c.Close()
			}
		}, "Connection: Upgrade", "Upgrade: websocket")
		if resp := p.raw(browser, text); resp == nil || resp.StatusCode != 502 || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("a switch to what was not offered: %v", resp)
		}
	})
}

// P6: the target reaches the app byte for byte.
func TestP6Targets(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		for _, target := range []string{"/a%2Fb", "/a/../b", "/a/./b//c", "/%7euser", "/a?b=%20+&c;d", "/?", "/a%00b", "//host/path", "/\u00e4"} {
			text, name := p.request("GET", target, nil)
			p.raw(browser, text)
			if got := f.app.request(name); got == nil || got.RequestURI != target {
				t.Errorf("%s: the app got %+v", target, got)
			}
		}
		text, name := p.request("GET", "http://shop.test/absolute?x", nil)
		p.raw(browser, text)
		if got := f.app.request(name); got == nil || got.RequestURI != "/absolute?x" {
			t.Errorf("the absolute form: %+v", got)
		}
	})
}

// P7: what the app may have executed is not sent again, so what it asks for happens at most once.
func TestP7NoSecondTime(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`)) // leaves a pooled connection
		for _, method := range []string{"POST", "PATCH"} {
			var executed atomic.Int32
			a := v.ask(method, "/", func(w http.ResponseWriter, _ *http.Request) {
				executed.Add(1)
				panic(http.ErrAbortHandler)
			}, "Idempotency-Key", "1", "X-Idempotency-Key", "1")
			if executed.Load() != 1 || a.StatusCode != 502 {
				t.Errorf("%s: executed %d times, answer %d", method, executed.Load(), a.StatusCode)
			}
		}
		v.must(`{"a":1}`)
	})
}
