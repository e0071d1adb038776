package enginetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var attacks = behaviours{
	"InterimFloodEnds":            testInterimFloodEnds,
	"DrippingHeadEnds":            testDrippingHeadEnds,
	"EarlyAnswersSmuggleNothing":  testEarlyAnswersSmuggleNothing,
	"UnaskedAnswerIsNobodys":      testUnaskedAnswerIsNobodys,
	"RefusedBodyIsNoRequest":      testRefusedBodyIsNoRequest,
	"EndlessHeadTakesNoMemory":    testEndlessHeadTakesNoMemory,
	"HandlerCannotSplitHeads":     testHandlerCannotSplitHeads,
	"EarlyBytesAreTheTunnels":     testEarlyBytesAreTheTunnels,
	"SlowClientHoldsNobodyElseUp": testSlowClientHoldsNobodyElseUp,
}

// An app that never gets beyond 1xx is ended, and its client has an answer or none, but not a flood.
func testInterimFloodEnds(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		for err := error(nil); err == nil; {
			_, err = io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100))
		}
	})
	c := r.dial()
	_, _ = io.WriteString(c, ask)
	got, err := io.ReadAll(io.LimitReader(c, 4<<20))
	if err != nil || len(got) > 1<<20 || !strings.Contains(string(got), "HTTP/1.1 502 ") {
		t.Errorf("the client got %d bytes, at the end %q (%v)", len(got), got[max(0, len(got)-200):], err)
	}
}

// A head may come slowly, byte by byte, and still has to be there in time.
func testDrippingHeadEnds(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{Limits: head.Limits{HeaderTimeout: 100 * time.Millisecond}}, says(plain))
	c := r.dial()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if _, err := io.WriteString(c, "G"); err != nil {
				return
			}
		}
	}()
	got, _ := io.ReadAll(c) // a reset is as good
	c.Close()
	<-gone
	if len(got) > 0 && !strings.HasPrefix(string(got), "HTTP/1.1 4") || r.begun.Load() != 0 {
		t.Errorf("the client got %q, %d exchanges began", got, r.begun.Load())
	}
}

// Whatever an app answers before it has the body: the rest of that body is no request, and no other client gets its connection.
func testEarlyAnswersSmuggleNothing(t *testing.T, build Build) {
	evil := strings.Repeat("GET /evil HTTP/1.1\r\nHost: a\r\n\r\n", 20)
	for name, sent := range map[string]string{
		"length":      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n",
		"chunked":     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n",
		"expectation": "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 100000\r\n\r\n",
	} {
		var heads, others atomic.Int64
		r := startRaw(t, build, nil, head.EngineOptions{}, func(c net.Conn, r *bufio.Reader) {
			for {
				text, err := readHead(r)
				if err != nil {
					return
				}
				if strings.HasPrefix(text, "GET /probe ") {
					fmt.Fprint(c, plain)
					continue
				}
				if heads.Add(1); !strings.HasPrefix(text, "POST / ") {
					others.Add(1)
				}
				fmt.Fprint(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
				if strings.HasPrefix(text, "POST / ") {
					_, _ = io.Copy(io.Discard, r) // what follows is a body that nobody reads as anything
					return
				}
			}
		})
		c := r.dial()
		_, _ = io.WriteString(c, sent)
		in := bufio.NewReader(c)
		m, err := readMessage(in, answer)
		if err != nil || m.status() != 403 || m.body != "no" {
			t.Errorf("%s: %q (%v)", name, m, err)
			continue
		}
		_, _ = io.WriteString(c, evil)
		if rest, _ := io.ReadAll(in); len(rest) > 0 { // a reset is as good
			t.Errorf("%s: the rest of the body is answered with %q", name, rest)
		}
		if res, body := r.get("/probe"); res.StatusCode != 200 || body != "ok" {
			t.Errorf("%s: the next client gets %d %q", name, res.StatusCode, body)
		}
		if heads.Load() != 1 || others.Load() != 0 {
			t.Errorf("%s: the app got %d requests, %d of them none", name, heads.Load(), others.Load())
		}
	}
}

// What an app says while nobody asks belongs to no request.
func testUnaskedAnswerIsNobodys(t *testing.T, build Build) {
	idle, said := make(chan struct{}), make(chan struct{})
	r := startRaw(t, build, nil, head.EngineOptions{}, func(c net.Conn, r *bufio.Reader) {
		for {
			text, err := readHead(r)
			if err != nil {
				return
			}
			fmt.Fprint(c, plain)
			if strings.HasPrefix(text, "GET /first ") {
				<-idle
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				said <- struct{}{}
			}
		}
	})
	for range 20 {
		if _, body := r.get("/first"); body != "ok" {
			t.Fatalf("the first gets %q", body)
		}
		eventually(t, "End", func() bool { return r.begun.Load() == r.ended.Load() })
		idle <- struct{}{}
		<-said
		if _, body := r.get("/second"); body != "ok" {
			t.Fatalf("the second gets %q", body)
		}
	}
}

// A client that is refused may have sent a body: it is not read as requests.
func testRefusedBodyIsNoRequest(t *testing.T, build Build) {
	w := &witness{}
	r := startRaw(t, build, nil, head.EngineOptions{}, w.serve)
	for _, start := range []string{"TRACE / HTTP/1.1\r\nHost: a\r\n", "POST /.well-known/pillion/peer/x HTTP/1.1\r\nHost: a\r\n", "POST / HTTP/1.1\r\nHost: a\r\nX A: 1\r\n"} {
		body := "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
		c := r.dial()
		fmt.Fprintf(c, "%sContent-Length: %d\r\n\r\n%s", start, len(body), body)
		got, _ := io.ReadAll(c) // a reset is as good
		if n := strings.Count(string(got), "HTTP/1.1 "); n != 1 || r.begun.Load() != 0 {
			t.Errorf("%q: %d answers: %q", start, n, got)
		}
	}
}

// A head without end is cut off long before it is one.
func testEndlessHeadTakesNoMemory(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{Limits: head.Limits{HeaderBytes: 8 << 10, HeaderTimeout: patience}}, says(plain))
	for _, endless := range []string{"X", "X: 1\r\n", " ", "\t\r\n"} {
		c := r.dial()
		part := strings.Repeat(endless, 16<<10)
		sent := 0
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nX-A: ")
		for ; err == nil && sent < 64<<20; sent += len(part) {
			_, err = io.WriteString(c, part)
		}
		if err == nil || r.begun.Load() != 0 {
			t.Errorf("%q: %d bytes were taken", endless, sent)
		}
	}
}

// A Handler that lets a client's bytes into a value does not let them end the line.
func testHandlerCannotSplitHeads(t *testing.T, build Build) {
	w := &witness{}
	h := &handler{
		request: func(x *head.Exchange) *head.Reply {
			x.Request.Fields.Add("X-Request", "1\r\nX-Evil: 1")
			return nil
		},
		response: func(_ *head.Exchange, answer *head.Head) error {
			answer.Fields.Add("X-Response", "1\r\nX-Evil: 1\r\n\r\nevil")
			return nil
		},
	}
	res, got := startRaw(t, build, h, head.EngineOptions{}, w.serve).get("/")
	requests, _ := w.take()
	for _, m := range requests {
		if len(m.values("X-Evil")) > 0 {
			t.Errorf("the app got %q", m)
		}
	}
	if res.Header.Get("X-Evil") != "" || strings.Contains(got, "evil") {
		t.Errorf("the client got %v %q", res.Header, got)
	}
}

// What a client sends before it has its 101 is the tunnel's.
func testEarlyBytesAreTheTunnels(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(c, r)
	})
	c := r.dial()
	early := "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"+early)
	in := bufio.NewReader(c)
	if text, err := readHead(in); err != nil || !strings.HasPrefix(text, "HTTP/1.1 101 ") {
		t.Fatalf("%q, %v", text, err)
	}
	fmt.Fprint(c, "late")
	_ = c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(in); err != nil || string(got) != early+"late" {
		t.Errorf("%q, %v", got, err)
	}
	if r.begun.Load() != 1 {
		t.Errorf("%d exchanges began", r.begun.Load())
	}
}

// A client that does not read its answer keeps nothing from the others.
func testSlowClientHoldsNobodyElseUp(t *testing.T, build Build) {
	r := startRaw(t, build, nil, head.EngineOptions{}, func(c net.Conn, r *bufio.Reader) {
		text, err := readHead(r)
		if err != nil {
			return
		}
		if strings.HasPrefix(text, "GET /large ") {
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
			_, _ = io.CopyN(c, zeros{}, 100_000_000)
			return
		}
		fmt.Fprint(c, plain)
	})
	for range 8 {
		fmt.Fprint(r.dial(), "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	eventually(t, "the large answers", func() bool { return r.begun.Load() == 8 })
	for range 20 {
		if _, body := r.get("/"); body != "ok" {
			t.Fatalf("another client gets %q", body)
		}
	}
}

// zeros are bytes without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
