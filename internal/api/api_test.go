package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/api"
)

// sessions maps the handles of running requests to their objects.
type sessions map[string]string

func (s sessions) ByHandle(handle string) ([]byte, string, bool) {
	object, ok := s[handle]
	return []byte(object), "7f00ff", ok
}

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(api.New(sessions{"h1": `{"user":"u1"}`}))
	t.Cleanup(srv.Close)
	return srv
}

func TestRead(t *testing.T) {
	srv := serve(t)
	for _, method := range []string{"GET", "HEAD"} {
		resp, body := do(t, request(t, method, srv.URL+"/v1/session", "Pillion-Handle", "h1"))
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("ETag") != `"7f00ff"` ||
			resp.Header.Get("Cache-Control") != "no-store" || resp.ContentLength != 13 {
			t.Errorf("%s: %d, header %v, length %d", method, resp.StatusCode, resp.Header, resp.ContentLength)
		}
		if method == "GET" && body != `{"user":"u1"}` {
			t.Errorf("body %q", body)
		}
	}
}

// A1: no browser and no rebound name reads a session; a handle that names none is told nothing more (A3).
func TestRefused(t *testing.T) {
	srv := serve(t)
	tests := []struct {
		name   string
		method string
		path   string
		header []string
		want   int
		text   string
	}{
		{"unknown handle", "GET", "/v1/session", []string{"Pillion-Handle", "h2"}, 404, "while you serve it"},
		{"empty handle", "GET", "/v1/session", []string{"Pillion-Handle", ""}, 404, "while you serve it"},
		{"no handle", "GET", "/v1/session", nil, 400, "exactly one Pillion-Handle"},
		{"two handles", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Pillion-Handle", "h1"}, 400, "exactly one"},
		{"foreign origin", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Origin", "https://evil.example"}, 403, "browser"},
		{"own origin", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Origin", srv.URL}, 403, "browser"},
		{"empty origin", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Origin", ""}, 403, "browser"},
		{"fetched by a page", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Sec-Fetch-Site", "same-origin"}, 403, "browser"},
		{"typed by a person", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Sec-Fetch-Site", "none"}, 403, "browser"},
		{"rebound name", "GET", "/v1/session", []string{"Pillion-Handle", "h1", "Host", "evil.example"}, 403, "PILLION_API"},
		{"write", "POST", "/v1/session", []string{"Pillion-Handle", "h1"}, 405, ""},
		{"delete", "DELETE", "/v1/session", []string{"Pillion-Handle", "h1"}, 405, ""},
		{"other path", "GET", "/v1/sessions", []string{"Pillion-Handle", "h1"}, 404, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resp, body := do(t, request(t, tt.method, srv.URL+tt.path, tt.header...))
			if resp.StatusCode != tt.want || !strings.Contains(body, tt.text) || strings.Contains(body, "u1") {
				t.Errorf("%d %q, want %d with %q", resp.StatusCode, body, tt.want, tt.text)
			}
			if resp.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if tt.want == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", resp.Header.Get("Allow"))
			}
		})
	}
}

// A1 on a Unix socket: its Host is whatever the client's library puts there, unix or localhost.
func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(api.New(sessions{"h1": `{}`}))
	srv.Listener.Close()
	srv.Listener = ln
	srv.Start()
	t.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	t.Cleanup(client.CloseIdleConnections)
	for host, want := range map[string]int{"unix": 200, "localhost": 200, "evil.example": 403} {
		r := request(t, "GET", "http://"+host+"/v1/session", "Pillion-Handle", "h1")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("Host %s: %d, want %d", host, resp.StatusCode, want)
		}
	}
}

func request(t *testing.T, method, url string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func do(t *testing.T, r *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}
