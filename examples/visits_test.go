package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// What a visitor does at each site, and what must come of it.

func nothingForNothing(t *testing.T, s *site) {
	before := s.stored()
	for range 20 {
		v := s.visitor(t)
		_, header := v.ask(200, "GET", "/")
		if header.Get("Set-Cookie") != "" || header.Get("Vary") != "" || header.Get("Cache-Control") != "" {
			t.Errorf("who stores nothing gets %v", header)
		}
		v.ask(404, "GET", "/nowhere")
		v.must(map[string]any{})
		if v.id() != "" {
			t.Error("a cookie for nothing")
		}
	}
	if n := s.stored() - before; n != 0 {
		t.Errorf("%d sessions are stored", n)
	}
}

func counter(t *testing.T, s *site) {
	v, other := s.visitor(t), s.visitor(t)
	id := ""
	for i := 1; i <= 6; i++ {
		method := []string{"GET", "POST"}[i%2]
		if got := v.value(method, "/counter"); got != float64(i) {
			t.Errorf("visit %d counts %v", i, got)
		}
		if id != "" && v.id() != id {
			t.Errorf("visit %d: the id changed", i)
		}
		id = v.id()
	}
	if got := v.value("POST", "/counter?k=other&delay=100"); got != float64(1) {
		t.Errorf("another attribute counts %v", got)
	}
	if got := other.value("GET", "/counter"); got != float64(1) {
		t.Errorf("another visitor counts %v", got)
	}
	v.must(map[string]any{"count": 6, "other": 1})
	if page := v.get("/"); !strings.Contains(page, ">6<") {
		t.Errorf("the page does not show 6: %s", page)
	}
}

func texts(t *testing.T, s *site) {
	v := s.visitor(t)
	want := map[string]any{}
	for i, text := range []string{"plain", "", "näive café", "日本語", "😀", "\u2028\u2029", `"quoted\" and {"json":1}`, "tab\tline\n", "\u007f\u00a0"} {
		name := fmt.Sprintf("k%d", i)
		if got := v.value([]string{"GET", "POST"}[i%2], "/set?k="+name+"&v="+url.QueryEscape(text)); got != text {
			t.Errorf("%q was stored as %q", text, got)
		}
		want[name] = text
	}
	if got := v.value("GET", "/set?k="+url.QueryEscape("nämé😀")+"&v=x"); got != "x" {
		t.Errorf("stored %q", got)
	}
	want["nämé😀"] = "x"
	v.must(want)
}

// largeSessions grows a session beyond what a header holds: the app then reads it from the loopback API.
func largeSessions(t *testing.T, s *site) {
	v := s.visitor(t)
	v.value("GET", "/counter")
	for _, size := range []int{3000, 20_000, 60_000, 10} {
		blob := strings.Repeat("x", size)
		if got := v.value("GET", fmt.Sprintf("/size?bytes=%d", size)); got != blob {
			t.Fatalf("%d bytes were stored as %.20v", size, got)
		}
		v.value("POST", "/counter")
		v.value("GET", "/counter")
	}
	v.must(map[string]any{"blob": strings.Repeat("x", 10), "count": 9})
	v.value("GET", "/size?bytes=60000")
	for i := range 3 {
		text, header := v.ask(502, "GET", fmt.Sprintf("/set?k=k%d&v=%s", i, strings.Repeat("y", 6000)))
		if !strings.Contains(header.Get("Proxy-Status"), "error=session_too_large") || !strings.Contains(text, "session.max_size") {
			t.Errorf("too large: %s %q", header.Get("Proxy-Status"), text)
		}
	}
	v.must(map[string]any{"blob": strings.Repeat("x", 60_000), "count": 9})
}

func login(t *testing.T, s *site) {
	v := s.visitor(t)
	v.value("GET", "/set?k=cart&v=book")
	old := v.id()
	if got := v.value("POST", "/login?user=ada"); got != "ada" {
		t.Errorf("logged in as %v", got)
	}
	renewed := time.Now()
	if v.id() == old || v.id()[:26] == old[:26] {
		t.Error("the id did not change")
	}
	v.must(map[string]any{"cart": "book", "user": "ada"})
	thief := v.with(old)
	thief.must(map[string]any{"cart": "book"})
	if _, header := thief.ask(503, "GET", "/set?k=cart&v=stolen"); !strings.Contains(header.Get("Proxy-Status"), "error=commit_failed") {
		t.Errorf("a write with the old id: %v", header)
	}
	if thief.id() != old {
		t.Error("the old id learnt another")
	}
	eventually(t, "the old id ends", func() bool { return v.with(old).get("/get") == "{}" })
	if since := time.Since(renewed); since < renewGrace-100*time.Millisecond {
		t.Errorf("the old id ended after %v", since)
	}
	v.must(map[string]any{"cart": "book", "user": "ada"})
}

func logout(t *testing.T, s *site) {
	for _, path := range []string{"/invalidate", "/logout"} {
		v := s.visitor(t)
		v.value("GET", "/login?user=eve")
		old := v.id()
		v.ask(200, "POST", path)
		if v.id() != "" {
			t.Errorf("%s left the cookie", path)
		}
		ghost := v.with(old)
		ghost.must(map[string]any{})
		if got := ghost.value("GET", "/counter"); got != float64(1) || ghost.id()[:26] == old[:26] {
			t.Errorf("%s: the old id counts %v", path, got)
		}
		v.must(map[string]any{})
	}
}

// parallel increments 20 attributes at once, twice, and loses none.
func parallel(t *testing.T, s *site) {
	v := s.visitor(t)
	v.value("GET", "/set?k=first&v=1")
	want := map[string]any{"first": "1"}
	for round := 1; round <= 2; round++ {
		var all sync.WaitGroup
		for i := range 20 {
			name := fmt.Sprintf("k%d", i)
			want[name] = round
			all.Go(func() {
				resp, err := v.client.Get(fmt.Sprintf("%s/counter?k=%s&delay=%d", s.url, name, i%5*10))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != 200 {
					t.Errorf("%s: %d %s", name, resp.StatusCode, resp.Header.Get("Proxy-Status"))
				}
			})
		}
		all.Wait()
		v.must(want)
	}
}

// A2, C11: what an operator reads names sessions by ref alone.
func (s *site) operatorsSeeNoID(t *testing.T) {
	for _, path := range []string{"/status", "/metrics", "/health", "/ready"} {
		resp, err := http.Get(s.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != 200 || len(text) == 0 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
		for _, id := range s.ids {
			if strings.Contains(string(text), id[:26]) {
				t.Fatalf("%s shows an id", path)
			}
		}
	}
	if len(s.ids) == 0 {
		t.Error("no id was seen: the test looks for nothing")
	}
}
