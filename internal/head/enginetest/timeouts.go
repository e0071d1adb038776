package enginetest

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var timeouts = behaviours{
	"TimeoutOfARoute": testTimeoutOfARoute,
}

// head.To.Timeout runs from the end of the request to the end of the response.
func testTimeoutOfARoute(t *testing.T, build Build) {
	const timeout = 300 * time.Millisecond
	never := make(chan struct{})
	r := startHTTP(t, build, nil, head.EngineOptions{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.URL.Path {
		case "/stream":
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			fallthrough
		case "/late":
			select {
			case <-r.Context().Done():
			case <-never:
			}
		}
	})
	t.Cleanup(func() { close(never) })
	r.to.Timeout = timeout
	if res, _ := r.get("/late"); res.StatusCode != 504 || !strings.Contains(res.Header.Get("Proxy-Status"), head.AppTimeout) {
		t.Errorf("%s %v", res.Status, res.Header)
	}
	if res, _ := r.do("POST", "/late", strings.NewReader("body")); res.StatusCode != 504 {
		t.Error(res.Status)
	}
	if res, _ := r.get("/"); res.StatusCode != 200 {
		t.Error(res.Status)
	}
	if res, _ := r.do("POST", "/", &late{text: "slow", by: 2 * timeout}); res.StatusCode != 200 {
		t.Errorf("a slow upload: %s", res.Status)
	}
	res := r.open("GET", "/stream", nil)
	if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
		t.Errorf("%q, %v", body, err)
	}
}

// late is a body that comes late.
type late struct {
	text string
	by   time.Duration
}

func (l *late) Read(p []byte) (int, error) {
	if l.text == "" {
		return 0, io.EOF
	}
	<-time.After(l.by)
	n := copy(p, l.text)
	l.text = ""
	return n, nil
}
