package enginetest

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

var answers = behaviours{
	"ResponsesAreScrubbed":          testResponsesAreScrubbed,
	"TrailerIsEditedOnce":           testTrailerIsEditedOnce,
	"HandlerEditsAnswers":           testHandlerEditsAnswers,
	"RepliesReplace":                testRepliesReplace,
	"PanicAfterTheHeadCutsOff":      testPanicAfterTheHeadCutsOff,
	"BodylessResponses":             testBodylessResponses,
	"Pipelining":                    testPipelining,
	"Streaming":                     testStreaming,
	"LargeBodiesTakeConstantMemory": testLargeBodiesTakeConstantMemory,
	"ExpectContinue":                testExpectContinue,
	"ExpectIgnoredByTheApp":         testExpectIgnoredByTheApp,
	"EarlyHintsReachAClient":        testEarlyHintsReachAClient,
}

// H5: whatever the app says with our names stays here.
func testResponsesAreScrubbed(t *testing.T, build Build) {
	tests := []struct {
		name, answer string
		statuses     []int
		want         []string
	}{
		{"final", "HTTP/1.1 200 OK\r\nPillion-Patch: {}\r\nPILLION_Op: x\r\nX-Kept: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok",
			[]int{200}, []string{"X-Kept: 1\r\n", "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", "\r\n\r\nok"}},
		{"103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nPillion-Patch: {}\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
			[]int{103, 102, 204}, []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 204 No Content\r\n"}},
		{"announced trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Pillion-Op\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nPillion-Op: x\r\n\r\n",
			[]int{200}, []string{"Trailer: X-Sum\r\n", "0\r\nX-Sum: 7\r\n\r\n"}},
		{"other trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Never\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\nX-Sum: 8\r\nPillion.Op: x\r\nSet-Cookie: evil=1\r\n\r\n",
			[]int{200}, []string{"0\r\nX-Sum: 7\r\nX-Sum: 8\r\n\r\n"}},
		{"hop-by-hop", "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Authenticate: x\r\nUpgrade: h2c\r\nPillion-Op: x\r\nContent-Length: 0\r\n\r\n",
			[]int{200}, []string{"Content-Length: 0\r\n"}},
	}
	for _, test := range tests {
		r := startRaw(t, build, nil, head.EngineOptions{}, says(test.answer))
		got := r.raw(ask)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: %q is missing in %q", test.name, want, got)
			}
		}
		for _, gone := range []string{"pillion", "x-hop", "keep-alive", "proxy-", "upgrade", "evil", "content-type"} {
			if strings.Contains(strings.ToLower(got), gone) {
				t.Errorf("%s: %s reached the client: %q", test.name, gone, got)
			}
		}
		if !slices.Equal(r.seen(), test.statuses) {
			t.Errorf("%s: the handler saw %v, want %v", test.name, r.seen(), test.statuses)
		}
	}
}

func testTrailerIsEditedOnce(t *testing.T, build Build) {
	calls := 0
	f := &handler{trailer: func(_ *head.Exchange, h *head.Head) {
		calls++
		h.Fields.Set("X-Sum", h.Fields.Get("X-Sum")+"!")
		h.Fields.Add("X-Added", "1")
	}}
	r := startRaw(t, build, f, head.EngineOptions{}, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum: 7\r\n\r\n"))
	res, _ := r.get("/")
	if calls != 1 || res.Trailer.Get("X-Sum") != "7!" || res.Trailer.Get("X-Added") != "1" {
		t.Errorf("%d calls, trailers %v", calls, res.Trailer)
	}
}

func testHandlerEditsAnswers(t *testing.T, build Build) {
	f := &handler{response: func(_ *head.Exchange, h *head.Head) error {
		h.Status = 202
		h.Fields.Del("Server")
		h.Fields.Add("set-cookie", "a=1")
		h.Fields.Add("Set-Cookie", "b=2")
		return nil
	}}
	r := startHTTP(t, build, f, head.EngineOptions{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Server", "secret")
		fmt.Fprint(w, "body")
	})
	res, body := r.get("/")
	if res.StatusCode != 202 || body != "body" || res.Header.Get("Server") != "" || len(res.Header["Set-Cookie"]) != 2 {
		t.Errorf("%d %v %q", res.StatusCode, res.Header, body)
	}
}

// A reply of the handler takes the place of the app's answer: nothing of that one is seen.
func testRepliesReplace(t *testing.T, build Build) {
	reply := head.Fail(503, head.CommitFailed, "could not keep the session")
	body := "HTTP/1.1 200 OK\r\nX-App: 1\r\nContent-Length: 6\r\n\r\nsecret"
	interim := "HTTP/1.1 103 Early Hints\r\n\r\n" + body
	tests := []struct {
		name, answer string
		f            *handler
		status       int
	}{
		{"request", body, &handler{request: func(*head.Exchange) *head.Reply { return reply }}, 503},
		{"response", body, &handler{response: func(*head.Exchange, *head.Head) error { return reply }}, 503},
		{"wrapped", body, &handler{response: func(*head.Exchange, *head.Head) error { return fmt.Errorf("x: %w", reply) }}, 503},
		{"other error", body, &handler{response: func(*head.Exchange, *head.Head) error { return errors.New("x") }}, 500},
		{"1xx", interim, &handler{response: func(_ *head.Exchange, h *head.Head) error {
			if h.Status == 103 {
				return reply
			}
			return nil
		}}, 503},
		{"101", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n", &handler{response: func(*head.Exchange, *head.Head) error { return reply }}, 503},
		{"panic in Request", body, &handler{request: func(*head.Exchange) *head.Reply { panic("test") }}, 500},
		{"panic in Response", body, &handler{response: func(*head.Exchange, *head.Head) error { panic("test") }}, 500},
		{"panic in a 1xx", interim, &handler{response: func(_ *head.Exchange, h *head.Head) error {
			if h.Status == 103 {
				panic("test")
			}
			return nil
		}}, 500},
	}
	for _, test := range tests {
		var tokens []string
		r := startRaw(t, build, test.f, head.EngineOptions{OwnAnswer: func(token string) { tokens = append(tokens, token) }}, says(test.answer))
		if r.http2 && test.name == "101" {
			continue // nobody offers that there
		}
		var offer []string
		if test.name == "101" {
			offer = []string{"Connection", "Upgrade", "Upgrade", "chat"}
		}
		res, text := r.get("/", offer...)
		if res.StatusCode != test.status || !strings.HasPrefix(res.Header.Get("Proxy-Status"), "pillion; ") || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %v", test.name, res.StatusCode, res.Header)
		}
		if strings.Contains(text, "secret") || res.Header.Get("X-App") != "" || r.interims.Load() > 0 {
			t.Errorf("%s: the app's answer is in %q, %v", test.name, text, res.Header)
		}
		if len(tokens) != 1 {
			t.Errorf("%s: counted %v", test.name, tokens)
		}
		eventually(t, "End", func() bool { return r.ended.Load() == 1 })
	}
}

func testPanicAfterTheHeadCutsOff(t *testing.T, build Build) {
	f := &handler{trailer: func(*head.Exchange, *head.Head) { panic("test") }}
	r := startRaw(t, build, f, head.EngineOptions{}, says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"))
	req, _ := http.NewRequest(http.MethodGet, "http://"+r.addr, nil)
	if res, err := r.transport().RoundTrip(req); err == nil { // else even the head was held back
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("%q, want a body without its end", body)
		}
	}
	eventually(t, "End", func() bool { return r.ended.Load() == 1 })
	if !errors.Is(r.lastErr(), head.ErrTruncated) {
		t.Errorf("End was told %v", r.lastErr())
	}
}

func testBodylessResponses(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		default:
			w.Header().Set("Content-Length", "1000")
		}
	})
	c := r.dial() // one connection: the framing of each answer must leave it in order
	in := bufio.NewReader(c)
	for _, test := range []struct {
		method, path string
		status       int
		length       int64
	}{{"GET", "/204", 204, 0}, {"GET", "/304", 304, 0}, {"HEAD", "/", 200, 1000}, {"HEAD", "/204", 204, 0}, {"GET", "/204", 204, 0}} {
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: a\r\n\r\n", test.method, test.path)
		res, err := http.ReadResponse(in, &http.Request{Method: test.method})
		if err != nil {
			t.Fatalf("%s %s: %v", test.method, test.path, err)
		}
		if res.StatusCode != test.status || res.ContentLength > 0 && res.ContentLength != test.length {
			t.Errorf("%s %s: %d, length %d", test.method, test.path, res.StatusCode, res.ContentLength)
		}
	}
}

func testPipelining(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s %s;", req.URL.Path, body)
	})
	got := r.raw("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nGETPOST /3 HTTP/1.1\r\nHost: a\r\n" +
		"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	var order []string
	for in := bufio.NewReader(strings.NewReader(got)); len(order) < 4; {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("after %q: %v", order, err)
		}
		body, _ := io.ReadAll(res.Body)
		order = append(order, string(body))
	}
	if want := []string{"/1 ;", "/2 GET;", "/3 x;", "/4 ;"}; !slices.Equal(order, want) {
		t.Errorf("got %q, want %q", order, want)
	}
}

// The first event, and the first bytes of a body of known length, arrive while the app still writes.
func testStreaming(t *testing.T, build Build) {
	for _, fields := range []http.Header{{"Content-Type": {"text/event-stream"}}, {"Content-Length": {"18"}}} {
		arrived := make(chan struct{})
		r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
			for name := range fields {
				w.Header().Set(name, fields.Get(name))
			}
			fmt.Fprint(w, "data: 1\n\n")
			_ = http.NewResponseController(w).Flush()
			select {
			case <-arrived:
				fmt.Fprint(w, "data: 2\n\n")
			case <-req.Context().Done():
			}
		})
		in := bufio.NewReader(r.open("GET", "/", nil).Body)
		if line, err := in.ReadString('\n'); err != nil || line != "data: 1\n" {
			t.Fatalf("%v: the first event is %q, %v", fields, line, err)
		}
		close(arrived)
		if rest, err := io.ReadAll(in); err != nil || !strings.Contains(string(rest), "data: 2\n") {
			t.Errorf("%v: %q, %v", fields, rest, err)
		}
	}
}

func testLargeBodiesTakeConstantMemory(t *testing.T, build Build) {
	const size = 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, req *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, req.Body)
	})
	sent, received := sha256.New(), sha256.New()
	body := io.TeeReader(io.LimitReader(rand.Reader, size), sent)
	req, _ := http.NewRequest(http.MethodPost, "http://"+r.addr, body)
	res, err := r.transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(received, res.Body); err != nil || n != size {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	if string(sent.Sum(nil)) != string(received.Sum(nil)) {
		t.Error("other bytes came back")
	}
	runtime.ReadMemStats(&after)
	if grew := int64(after.HeapSys) - int64(before.HeapSys); grew > size/2 {
		t.Errorf("the heap grew by %d MiB", grew>>20)
	}
}

// The app decides whether it wants a body that the client holds back.
func testExpectContinue(t *testing.T, build Build) {
	app := func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/no" {
			w.WriteHeader(413)
			return
		}
		body, _ := io.ReadAll(req.Body)
		fmt.Fprintf(w, "%s", body)
	}
	r := startHTTP(t, build, nil, head.EngineOptions{}, app)
	c := r.dial()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "POST /yes HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if line, err := in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if line, err := in.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	fmt.Fprint(c, "body")
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(res.Body); string(body) != "body" {
		t.Errorf("%d %q", res.StatusCode, body)
	}
	if !slices.Equal(r.seen(), []int{100, 200}) {
		t.Errorf("the handler saw %v", r.seen())
	}
	// A refusal comes without a 100, and the body is not asked for.
	fmt.Fprint(c, "POST /no HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 413 ") {
		t.Errorf("%q, %v, want 413", line, err)
	}
	eventually(t, "End", func() bool { return r.ended.Load() == 2 })
	if !slices.Equal(r.seen(), []int{100, 200, 413}) {
		t.Errorf("the handler saw %v", r.seen())
	}
}

// An app that knows nothing of Expect gets the body after continueAfter, HTTP/1.0 clients get no 1xx.
func testExpectIgnoredByTheApp(t *testing.T, build Build) {
	app := func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err != nil {
			return
		}
		body := make([]byte, 4)
		if _, err := io.ReadFull(r, body); err == nil {
			fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\n%s", body)
		}
	}
	r := startRaw(t, build, nil, head.EngineOptions{}, app)
	got := r.raw("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
	if !strings.HasPrefix(got, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "body") {
		t.Errorf("HTTP/1.1: %q", got)
	}
	if got := r.raw("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"); !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") || !strings.HasSuffix(got, "body") {
		t.Errorf("HTTP/1.0: %q", got)
	}
}

func testEarlyHintsReachAClient(t *testing.T, build Build) {
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(103)
		w.WriteHeader(200)
	})
	var link string
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		link = fmt.Sprint(code, h.Get("Link"))
		return nil
	}}
	req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", "http://"+r.addr, nil)
	res, err := r.transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if link != "103</style.css>" {
		t.Errorf("the client got %q", link)
	}
}
