package sidecar_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The table of odd cases (docs/header-contract.md), row by row.

// Row: 100 and 103 from the app. Their instructions count for nothing, those of the final head do.
func TestOddInterim(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		a := v.get(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pillion-Patch", `{"early":1}`)
			w.WriteHeader(103)
			w.Header().Set("Pillion-Patch", `{"final":1}`)
			w.WriteHeader(200)
		})
		if a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.token())
		}
		v.must(`{"final":1}`)
		if n := p.counted("contract_errors_total", "interim"); n != 1 {
			t.Errorf("counted %v times", n)
		}
	})
}

// Row: 101. The handshake brings the session; instructions on the 101 are kept before it is forwarded.
func TestOddWebSocket(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		given := make(chan http.Header, 1)
		name := f.app.add(func(w http.ResponseWriter, r *http.Request) {
			given <- r.Header.Clone()
			w.Header().Set("Pillion-Patch", `{"socket":1}`)
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			for {
				kind, text, err := c.Read(context.Background())
				if err != nil {
					return
				}
				_ = c.Write(context.Background(), kind, text)
			}
		})
		c, resp, err := websocket.Dial(context.Background(), "wss://"+site.Host+"/", &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: p.client}, HTTPHeader: http.Header{scriptField: {name}, "Cookie": {"__Host-psid=" + v.id()}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if got := (<-given).Get("Pillion-Session"); got != `{"a":1}` {
			t.Errorf("the handshake brings %s", got)
		}
		for field := range resp.Header {
			if strings.HasPrefix(normal(field), "pillion-") {
				t.Errorf("the 101 shows %s", field)
			}
		}
		v.must(`{"a":1,"socket":1}`)
		if err := c.Write(context.Background(), websocket.MessageText, []byte("echo")); err != nil {
			t.Fatal(err)
		}
		if _, text, err := c.Read(context.Background()); err != nil || string(text) != "echo" {
			t.Errorf("read %q, %v", text, err)
		}
	})
}

// Row: server-sent events. The head's instructions are kept before the first event; each event arrives when it is sent.
func TestOddEvents(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		next := make(chan string)
		name := f.app.add(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Pillion-Patch", `{"events":1}`)
			for event := range next {
				fmt.Fprintf(w, "data: %s\n\n", event)
				_ = http.NewResponseController(w).Flush()
			}
		})
		req, _ := http.NewRequest("GET", "https://"+site.Host+"/", nil)
		req.Header.Set(scriptField, name)
		req.Header.Set("Cookie", "__Host-psid="+v.id())
		answered := make(chan *http.Response)
		go func() {
			resp, err := p.client.RoundTrip(req)
			if err != nil {
				t.Error(err)
			}
			answered <- resp
		}()
		next <- "0"
		resp := <-answered
		defer resp.Body.Close()
		v.must(`{"a":1,"events":1}`)
		lines := bufio.NewReader(resp.Body)
		for i := range 3 {
			if i > 0 {
				next <- fmt.Sprint(i)
			}
			line, err := lines.ReadString('\n')
			if err != nil || line != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("event %d: %q %v", i, line, err)
			}
			_, _ = lines.ReadString('\n')
			wait(time.Minute)
		}
		close(next)
		if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
			t.Errorf("the end: %q %v", rest, err)
		}
	})
}

// Row: trailers. Instructions in them come after the commit and count for nothing.
func TestOddTrailers(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		a := v.get(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Pillion-Op, X-Sum")
			_, _ = io.WriteString(w, "body")
			w.Header().Set("Pillion-Op", "destroy")
			w.Header().Set("X-Sum", "7")
		})
		if a.body != "body" || a.Trailer.Get("X-Sum") != "7" || len(a.Trailer) != 1 {
			t.Errorf("%q, trailers %v", a.body, a.Trailer)
		}
		v.must(`{"a":1}`)
	})
}

// Rows: HEAD, methods, 204, 205, 304, 3xx, 4xx, 5xx. What the head asks for counts, whatever the method and the status.
func TestOddStatusesAndMethods(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "PROPFIND"} {
			for _, status := range []string{"200", "201", "204", "205", "301", "302", "303", "304", "307", "400", "401", "404", "409", "500", "502", "503"} {
				v := p.visitor()
				a := v.ask(method, "/", says(":status", status, "Pillion-Patch", `{"a":1}`, "Location", "/next"))
				if fmt.Sprint(a.StatusCode) != status || a.setCookie() == "" || a.token() != "" {
					t.Errorf("%s %s: %d, cookie %q", method, status, a.StatusCode, a.setCookie())
					continue
				}
				v.must(`{"a":1}`)
				v.ask(method, "/", says(":status", status, "Pillion-Op", "destroy"))
				if v.id() != "" {
					t.Errorf("%s %s: the logout did not arrive", method, status)
				}
			}
		}
	})
}

// Row: OPTIONS and ignored paths. No session is read, none is written, none is shown; our fields still go, both ways.
func TestOddIgnored(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		wait(time.Second)
		f.operations()
		for _, row := range [][2]string{{"OPTIONS", "/"}, {"GET", "/static/a.css"}, {"POST", "/static/b?x=1"}} {
			a := v.ask(row[0], row[1], says("Pillion-Patch", `{"b":2}`, "Pillion-Op", "destroy", "Set-Cookie", "__Host-psid=mine; Secure; Path=/"), "Pillion_Session", "spoof")
			for field := range a.app.Header {
				if strings.HasPrefix(normal(field), "pillion-") || field == "Cookie" {
					t.Errorf("%v: the app gets %s", row, field)
				}
			}
			if a.StatusCode != 200 || len(a.Header["Set-Cookie"]) != 0 || a.Header["Pillion-Patch"] != nil || a.Header.Get("Cache-Control") != "" {
				t.Errorf("%v: %d %v", row, a.StatusCode, a.Header)
			}
		}
		if n := f.operations(); n != 0 {
			t.Errorf("%d operations", n)
		}
		v.must(`{"a":1}`)
		if a := v.ask("GET", "/page?next=/static/", nil); a.app.session() != `{"a":1}` {
			t.Error("ignore looks at the query")
		}
	}, ignoring(`^/static/`))
}

// Rows: the app is down, times out, breaks off in the head: nothing is applied, and the answer says who speaks.
func TestOddAppFails(t *testing.T) {
	raw := func(text string) script {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, text)
				_ = c.Close()
			}
		}
	}
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		id := v.id()
		for _, row := range []struct {
			name   string
			do     script
			status int
			token  string
		}{
			{"closes at once", raw(""), 502, "app_unreachable"},
			{"breaks off in the head", raw("HTTP/1.1 200 OK\r\nPillion-Patch: {\"b\":2}\r\nPillion-Op: des"), 502, "app_unreachable"},
			{"is no HTTP", raw("Pillion-Patch: {\"b\":2}\r\n\r\n"), 502, "app_unreachable"},
			{"takes too long", sleepy(2*time.Minute, patch(`{"b":2}`)), 504, "app_timeout"},
			{"has a head that is too long", says("Pillion-Patch", `{"b":2}`, "X-Long", strings.Repeat("x", 100<<10)), 502, "app_unreachable"},
			{"panics", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "app_unreachable"},
		} {
			if a := v.ask("POST", "/", row.do); a.StatusCode != row.status || a.token() != row.token || a.setCookie() != "" {
				t.Errorf("%s: %d %s", row.name, a.StatusCode, a.token())
			}
			v.must(`{"a":1}`)
		}
		f.app.listener.close()
		wait(time.Minute)
		if a := v.get(nil); a.StatusCode != 503 || a.token() != "app_unreachable" || v.id() != id {
			t.Errorf("down: %d %s", a.StatusCode, a.token())
		}
	})
}

// Row: the app breaks off in the body. What its head asked for was kept before, and stays.
func TestOddTruncatedBody(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		a, err := v.try(context.Background(), "GET", "/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pillion-Patch", `{"b":2}`)
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, strings.Repeat("x", 500))
			_ = http.NewResponseController(w).Flush()
			wait(time.Second)
			panic(http.ErrAbortHandler)
		})
		if err != nil || a.cut == nil || len(a.body) != 500 {
			t.Errorf("the visitor must see that the body is cut: %v, %v", err, a)
		}
		v.must(`{"a":1,"b":2}`)
	})
}

// Row: the visitor leaves. A commit that has begun ends; a request that is still with the app is given up.
func TestOddClientLeaves(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.each(func(n *node) { n.slow(20 * time.Millisecond) })
		committing, leave := context.WithCancel(context.Background())
		_, err := p.visitor().take(v.id()).try(committing, "GET", "/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pillion-Patch", `{"kept":1}`)
			time.AfterFunc(10*time.Millisecond, leave)
		})
		if err == nil {
			t.Fatal("the answer came before the commit")
		}
		wait(time.Second)
		v.must(`{"a":1,"kept":1}`)
	})
}

// Row: two requests create at once, without a cookie. Two sessions are born, and the browser keeps the later one.
func TestOddTwoBirths(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		ended := make(chan *answer)
		for i := range 2 {
			go func() { ended <- v.get(sleepy(time.Duration(i+1)*time.Millisecond, patch(fmt.Sprintf(`{"n":%d}`, i)))) }()
		}
		<-ended
		<-ended
		v.must(`{"n":1}`)
		if n := len(f.keys()); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}

// The lives of request bodies: a body of known length, in chunks, and none reach the app with the session.
func TestOddBodies(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		for _, row := range []struct{ framing, body string }{
			{"Content-Length: 5", "hello"}, {"Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"}, {"Content-Length: 5\r\nExpect: 100-continue", "hello"},
		} {
			text, name := p.request("POST", "/", says(), row.framing, "Cookie: __Host-psid="+v.id())
			resp := p.raw(browser, text+row.body)
			got := f.app.request(name)
			if resp == nil || got == nil || got.body != "hello" || got.session() != `{"a":1}` {
				t.Errorf("%s: %v, the app got %+v", row.framing, resp, got)
			}
		}
	})
}
