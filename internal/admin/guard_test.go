package admin_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/admin"
)

var (
	loopbackAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9901}
	everywhere   = &net.TCPAddr{IP: net.IPv4zero, Port: 9901}
)

// The rules of A2, one row each. "own" in an Origin stands for the server's own origin.
func TestGuard(t *testing.T) {
	const token = "correct horse"
	json, bearer := []string{"Content-Type", "application/json"}, []string{"Authorization", "Bearer " + token}
	with := func(lists ...[]string) (all []string) {
		for _, l := range lists {
			all = append(all, l...)
		}
		return all
	}
	tests := []struct {
		name         string
		listener     net.Addr
		token        string
		method, path string
		header       []string
		want         int
	}{
		{"a program reads", loopbackAddr, "", "GET", "/status", nil, 200},
		{"a program changes", loopbackAddr, "", "POST", "/session/show", json, 200},
		{"a program changes, charset", loopbackAddr, "", "POST", "/session/show", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"a change that a form can send", loopbackAddr, "", "POST", "/session/show", []string{"Content-Type", "text/plain"}, 415},
		{"a change without a type", loopbackAddr, "", "POST", "/session/show", nil, 415},

		{"rebound name", loopbackAddr, "", "GET", "/status", []string{"Host", "evil.example"}, 403},
		{"rebound name, probe", loopbackAddr, "", "GET", "/health", []string{"Host", "evil.example"}, 403},
		{"rebound name, with the token", loopbackAddr, token, "GET", "/status", with(bearer, []string{"Host", "evil.example"}), 403},
		{"localhost", loopbackAddr, "", "GET", "/status", []string{"Host", "localhost:9901"}, 200},
		{"name in admin_hosts", loopbackAddr, "", "GET", "/status", []string{"Host", "pillion.internal"}, 200},

		{"own page reads", loopbackAddr, "", "GET", "/status", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"typed address", loopbackAddr, "", "GET", "/status", []string{"Sec-Fetch-Site", "none"}, 200},
		{"foreign page reads", loopbackAddr, "", "GET", "/status", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"page of the same site reads", loopbackAddr, "", "GET", "/status", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"foreign page scrapes", loopbackAddr, "", "GET", "/metrics", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"foreign origin reads", loopbackAddr, "", "GET", "/status", []string{"Origin", "https://evil.example"}, 403},
		{"foreign page reads, with the token", loopbackAddr, token, "GET", "/status", with(bearer, []string{"Sec-Fetch-Site", "cross-site"}), 403},
		{"own page changes", loopbackAddr, "", "POST", "/session/show", with(json, []string{"Origin", "own", "Sec-Fetch-Site", "same-origin"}), 200},
		{"foreign page changes", loopbackAddr, "", "POST", "/session/show", with(json, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}), 403},
		{"sandboxed page changes", loopbackAddr, "", "POST", "/session/show", with(json, []string{"Origin", "null"}), 403},
		{"foreign page changes, with the token", loopbackAddr, token, "POST", "/session/show", with(json, bearer, []string{"Origin", "https://console.example"}), 200},
		{"with the token, no JSON", loopbackAddr, token, "POST", "/session/show", bearer, 415},
		{"preflight", loopbackAddr, "", "OPTIONS", "/session/show", []string{"Origin", "https://evil.example"}, 403},

		{"exposed: health", everywhere, token, "GET", "/health", nil, 200},
		{"exposed: ready", everywhere, token, "GET", "/ready", nil, 200},
		{"exposed: metrics", everywhere, token, "GET", "/metrics", nil, 200},
		{"exposed: status", everywhere, token, "GET", "/status", nil, 401},
		{"exposed: profiles", everywhere, token, "GET", "/debug/pprof/", nil, 401},
		{"exposed: change", everywhere, token, "POST", "/session/show", json, 401},
		{"exposed: change of a probe's path", everywhere, token, "POST", "/ready", json, 401},
		{"exposed: own page changes", everywhere, token, "POST", "/session/show", with(json, []string{"Sec-Fetch-Site", "same-origin"}), 401},
		{"exposed: status with the token", everywhere, token, "GET", "/status", bearer, 200},
		{"exposed: change with the token", everywhere, token, "POST", "/session/show", with(json, bearer), 200},
		{"exposed: lower-case scheme", everywhere, token, "GET", "/status", []string{"Authorization", "bearer " + token}, 200},
		{"exposed: wrong token", everywhere, token, "GET", "/status", []string{"Authorization", "Bearer " + token + "x"}, 401},
		{"exposed: other scheme", everywhere, token, "GET", "/status", []string{"Authorization", "Basic " + token}, 401},
		{"exposed: a path beside a probe's", everywhere, token, "GET", "/health/../status", nil, 401},
		{"exposed, no token configured", everywhere, "", "GET", "/status", []string{"Authorization", "Bearer "}, 403},
		{"exposed, no token configured: ready", everywhere, "", "GET", "/ready", nil, 200},
		{"listener unknown", nil, "", "GET", "/status", nil, 403},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &sidecar{result: "shown"}
			srv := serve(t, admin.Options{
				Listener: tt.listener, Token: tt.token, Hosts: []string{"pillion.internal"},
				Readiness: s, Status: s, Sessions: s, Metrics: prometheus.NewRegistry(),
			})
			resp, body := do(t, srv, tt.method, tt.path, `{"ref":"k3Jx9w"}`, tt.header...)
			if resp.StatusCode != tt.want {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, tt.want)
			}
			if tt.want != 200 && s.ref != "" {
				t.Error("refused, but carried out")
			}
			if got := resp.Header.Get("WWW-Authenticate") != ""; got != (tt.want == 401) {
				t.Errorf("WWW-Authenticate: %v", got)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("header %v", resp.Header)
			}
		})
	}
}

func serve(t *testing.T, opts admin.Options) *httptest.Server {
	t.Helper()
	if opts.Metrics == nil {
		opts.Metrics = prometheus.NewRegistry()
	}
	if opts.Sessions == nil {
		opts.Sessions = &sidecar{}
	}
	srv := httptest.NewServer(admin.New(opts))
	t.Cleanup(srv.Close)
	return srv
}

func do(t *testing.T, srv *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		switch {
		case header[i] == "Host":
			r.Host = header[i+1]
		case header[i+1] == "own":
			r.Header.Set(header[i], srv.URL)
		default:
			r.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}
