package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// pair is a front and its two sidecars, which answer with their name and the request's body.
type pair struct {
	t        *testing.T
	sidecars map[string]*httptest.Server
	front    *httptest.Server
	answer   func(w http.ResponseWriter, name string) // in place of that, when set

	mu    sync.Mutex
	asked []string
}

func newPair(t *testing.T, sticky bool) *pair {
	p := &pair{t: t, sidecars: map[string]*httptest.Server{}}
	var backends []Sidecar
	for _, name := range []string{"a1", "a2"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.mu.Lock()
			p.asked = append(p.asked, name)
			p.mu.Unlock()
			if p.answer != nil {
				p.answer(w, name)
				return
			}
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s %s", name, r.Header.Get("X-Forwarded-For"), body)
		}))
		t.Cleanup(s.Close)
		p.sidecars[name] = s
		backends = append(backends, Sidecar{name, s.Listener.Addr().String()})
	}
	p.front = httptest.NewServer(NewFront(backends, sticky, "demo"))
	t.Cleanup(p.front.Close)
	return p
}

// visit posts a body to path as the visitor whose id is given, and returns the status and the answer.
func (p *pair) visit(path, id, body string) (int, string) {
	p.t.Helper()
	r, err := http.NewRequest("POST", p.front.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if id != "" {
		r.Header.Set("Cookie", "psid=nonsense; psid="+id)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func idAt(t *testing.T, route string) ring.ID {
	t.Helper()
	keys, err := ring.NewKeys("demo")
	if err != nil {
		t.Fatal(err)
	}
	id, err := ring.NewID(strings.NewReader(strings.Repeat("r", 16)), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id.Node, id.Route, id.Epoch = "n2", route, 3
	return keys.Sign(id)
}

func TestFrontSendsVisitorsHome(t *testing.T) {
	p := newPair(t, true)
	for _, route := range []string{"a1", "a2", "a2", "a1", "a1"} {
		if status, got := p.visit("/", idAt(t, route).String(), "x"); status != 200 || got != route+" 127.0.0.1 x" {
			t.Errorf("the visitor of %s: %d %q", route, status, got)
		}
	}
}

// Without a home, and in shared mode, the sidecars take turns.
func TestFrontTakesTurns(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		p := newPair(t, sticky)
		id := ""
		if !sticky {
			id = idAt(t, "a1").String()
		}
		for range 6 {
			p.visit("/", id, "")
		}
		if got := strings.Join(p.asked, " "); got != "a2 a1 a2 a1 a2 a1" {
			t.Errorf("sticky %t: asked %s", sticky, got)
		}
	}
}

// A refused connection leads to the other sidecar, with the body; a dead app does, when there is no body. Everything else is the
// visitor's to see: the request may have been executed.
func TestFrontFallsBack(t *testing.T) {
	appDown := func(w http.ResponseWriter, name string) {
		if name == "a1" {
			w.Header().Set("Proxy-Status", `pillion; error=app_unreachable; details="app does not accept connections"`)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	for _, tc := range []struct {
		name   string
		answer func(http.ResponseWriter, string)
		dead   []string
		body   string
		status int
		asked  string
	}{
		{name: "home is dead", dead: []string{"a1"}, body: "kept", status: 200, asked: "a2"},
		{name: "all are dead", dead: []string{"a1", "a2"}, status: 503},
		{name: "home's app is dead", answer: appDown, status: 200, asked: "a1 a2"},
		{name: "home's app is dead and has the body", answer: appDown, body: "gone", status: 503, asked: "a1"},
		{name: "home dies", answer: func(http.ResponseWriter, string) { panic(http.ErrAbortHandler) }, status: 502, asked: "a1"},
		{name: "home refuses", answer: func(w http.ResponseWriter, _ string) { w.WriteHeader(503) }, status: 503, asked: "a1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPair(t, true)
			p.answer = tc.answer
			for _, name := range tc.dead {
				p.sidecars[name].Close()
			}
			status, got := p.visit("/", idAt(t, "a1").String(), tc.body)
			p.mu.Lock()
			defer p.mu.Unlock()
			if asked := strings.Join(p.asked, " "); status != tc.status || asked != tc.asked {
				t.Errorf("%d from %q, want %d from %q", status, asked, tc.status, tc.asked)
			}
			if tc.body == "kept" && !strings.HasSuffix(got, " kept") {
				t.Errorf("the other sidecar got %q", got)
			}
		})
	}
}

// The page learns what the cookie says, and never the cookie.
func TestFrontDescribesTheSession(t *testing.T) {
	p := newPair(t, true)
	id := idAt(t, "a2")
	_, text := p.visit(sessionPath, id.String(), "")
	var got struct {
		Node, Route, Ref string
		Epoch            int
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Node != "n2" || got.Route != "a2" || got.Epoch != 3 || got.Ref != ring.Ref("demo", id.Random) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
	if strings.Contains(text, id.String()[:48]) {
		t.Errorf("%s has the token", text)
	}
	if _, text := p.visit(sessionPath, "", ""); text != "{}\n" {
		t.Errorf("without a session: %q", text)
	}
	if len(p.asked) != 0 {
		t.Errorf("the sidecars were asked: %v", p.asked)
	}
}
