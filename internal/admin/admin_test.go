package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/metrics"
)

// canary stands for a session id: it must come back in no answer (C11).
const canary = "mfrggzdfmztwq2lknnwg23tpoa2dmzlomfrggzdfmztwq2lk-n1.a1"

type sidecar struct {
	blocked, degraded []string
	result            any
	err               error
	ref, id           string
}

func (s *sidecar) Ready() (blocked, degraded []string) { return s.blocked, s.degraded }

func (s *sidecar) Status() any {
	return admin.Report{
		Version: "v1", App: "shop", Space: "shop", Route: "a1", Mode: "sticky", Started: time.Unix(1763829000, 0).UTC(), Uptime: "1h0m0s",
		Ring: []admin.Node{{Name: "n1", Address: "10.100.0.20:11211", State: "up"}}, Sessions: 3, ConfigHash: "abc",
		Keys: []admin.Key{{ID: 1, Use: "seal"}},
	}
}

func (s *sidecar) Show(_ context.Context, ref, id string) (any, error) {
	s.ref, s.id = ref, id
	return s.result, s.err
}

func (s *sidecar) DestroySubject(_ context.Context, subject string) (any, error) {
	return map[string]string{"subject": subject}, nil
}

func (s *sidecar) Destroy(_ context.Context, ref, id string) (any, error) {
	s.ref, s.id = ref, id
	return map[string]any{"destroyed": true}, s.err
}

func TestDestroySubject(t *testing.T) {
	srv := serve(t, admin.Options{Listener: loopbackAddr, Sessions: &sidecar{}})
	if resp, body := do(t, srv, "POST", "/session/destroy-subject", `{"subject":"u1"}`, "Content-Type", "application/json"); resp.StatusCode != 200 || compact(t, body) != `{"subject":"u1"}` {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	for _, bad := range []string{`{}`, `{"subject":""}`, `{"ref":"x"}`, `[`} {
		if resp, _ := do(t, srv, "POST", "/session/destroy-subject", bad, "Content-Type", "application/json"); resp.StatusCode != 400 {
			t.Errorf("%s: %d", bad, resp.StatusCode)
		}
	}
}

func TestReady(t *testing.T) {
	tests := []struct {
		name              string
		blocked, degraded []string
		status            int
		body              string
	}{
		{"all well", nil, nil, 200, `{"ready":true}`},
		{"before the first contact with the ring", []string{"ring: no contact yet"}, nil, 503, `{"ready":false,"blocked":["ring: no contact yet"]}`},
		{"draining and degraded", []string{"draining"}, []string{"ring: n1 down"}, 503, `{"ready":false,"blocked":["draining"],"degraded":["ring: n1 down"]}`},
		{"ring trouble afterwards", nil, []string{"ring: n1 down"}, 200, `{"ready":true,"degraded":["ring: n1 down"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := serve(t, admin.Options{Listener: loopbackAddr, Readiness: &sidecar{blocked: tt.blocked, degraded: tt.degraded}})
			resp, body := do(t, srv, "GET", "/ready", "")
			if resp.StatusCode != tt.status || compact(t, body) != tt.body {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, compact(t, body), tt.status, tt.body)
			}
		})
	}
}

func TestHealthAndStatus(t *testing.T) {
	srv := serve(t, admin.Options{Listener: loopbackAddr, Status: &sidecar{}})
	if resp, body := do(t, srv, "GET", "/health", ""); resp.StatusCode != 200 || compact(t, body) != `{"status":"ok"}` {
		t.Errorf("health: %d %s", resp.StatusCode, body)
	}
	resp, body := do(t, srv, "GET", "/status", "")
	want := `{"version":"v1","app":"shop","space":"shop","route":"a1","mode":"sticky","started":"2025-11-22T16:30:00Z","uptime":"1h0m0s",` +
		`"ring":[{"name":"n1","address":"10.100.0.20:11211","state":"up"}],"sessions_in_memory":3,"config_hash":"abc","keys":[{"id":1,"use":"seal"}]}`
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || compact(t, body) != want {
		t.Errorf("status: %d %s", resp.StatusCode, compact(t, body))
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	reg := prometheus.NewRegistry()
	metrics.New(reg).Spoofs.Add(7)
	srv := serve(t, admin.Options{Listener: loopbackAddr, Metrics: reg})
	if resp, body := do(t, srv, "GET", "/metrics", ""); resp.StatusCode != 200 || !strings.Contains(body, "\npillion_spoofs_total 7\n") {
		t.Errorf("metrics: %d %s", resp.StatusCode, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		if resp, body := do(t, srv, "GET", path, ""); resp.StatusCode != 200 || body == "" {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestSession(t *testing.T) {
	tests := []struct {
		path, body string
		err        error
		status     int
		ref, id    string
		want       string
	}{
		{"/session/show", `{"ref":"k3Jx9w"}`, nil, 200, "k3Jx9w", "", `{"copies":2}`},
		{"/session/show", `{"id":"` + canary + `"}`, nil, 200, "", canary, `{"copies":2}`},
		{"/session/destroy", `{"id":"` + canary + `"}`, nil, 200, "", canary, `{"destroyed":true}`},
		{"/session/destroy", `{"ref":"k3Jx9w"}`, nil, 200, "k3Jx9w", "", `{"destroyed":true}`},
		{"/session/show", `{"ref":"k3Jx9w"}`, admin.ErrNoSession, 404, "k3Jx9w", "", `{"error":"no node holds this session"}`},
		{"/session/show", `{"ref":"?"}`, fmt.Errorf("%w: 32 characters expected", admin.ErrBadName), 400, "?", "", `{"error":"this is no ref, which has 32 characters, and no session id: 32 characters expected"}`},
		{"/session/destroy", `{"ref":"k3Jx9w"}`, errors.New("node n1 does not answer"), 503, "k3Jx9w", "", `{"error":"node n1 does not answer"}`},
		{"/session/show", `{"ref":"a","id":"` + canary + `"}`, nil, 400, "", "", ""},
		{"/session/show", `{"` + canary + `":1}`, nil, 400, "", "", ""},
		{"/session/show", `{"id":` + canary + `}`, nil, 400, "", "", ""},
		{"/session/show", `"` + canary + `"`, nil, 400, "", "", ""},
		{"/session/show", `{"id":"` + strings.Repeat("a", 5000) + `"}`, nil, 400, "", "", ""},
		{"/session/destroy", `{"ref":"k3Jx9w"}{"ref":"other"}`, nil, 400, "", "", ""},
		{"/session/destroy", `{"ref":"k3Jx9w"} }`, nil, 400, "", "", ""},
		{"/session/show", `{}`, nil, 400, "", "", ""},
		{"/session/show", ``, nil, 400, "", "", ""},
	}
	for _, tt := range tests {
		s := &sidecar{result: map[string]int{"copies": 2}, err: tt.err}
		srv := serve(t, admin.Options{Listener: loopbackAddr, Sessions: s})
		resp, body := do(t, srv, "POST", tt.path, tt.body, "Content-Type", "application/json")
		if resp.StatusCode != tt.status || s.ref != tt.ref || s.id != tt.id {
			t.Errorf("%s %s: %d, ref %q, id %q", tt.path, tt.body, resp.StatusCode, s.ref, s.id)
		}
		if tt.want != "" && compact(t, body) != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.path, tt.body, body, tt.want)
		}
		if strings.Contains(body, canary[:8]) {
			t.Errorf("%s %s: the answer repeats the id: %s", tt.path, tt.body, body)
		}
	}
}

// An id never travels in a path or query: sessions are named in bodies only.
func TestSessionIsPostOnly(t *testing.T) {
	s := &sidecar{}
	srv := serve(t, admin.Options{Listener: loopbackAddr, Sessions: s})
	resp, _ := do(t, srv, "GET", "/session/show?id="+canary, "")
	if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "POST" || s.id != "" {
		t.Errorf("%d, Allow %q, id %q", resp.StatusCode, resp.Header.Get("Allow"), s.id)
	}
}

func compact(t *testing.T, body string) string {
	t.Helper()
	var v json.RawMessage = []byte(body)
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	return string(out)
}
