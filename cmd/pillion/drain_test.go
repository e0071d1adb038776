package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/apptest"
)

// pillion runs a command of the program to its end.
func pillion(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	code = run(t.Context(), args, nil, nil, &out, &errs)
	return code, out.String(), errs.String()
}

// statusOf asks a health path.
func statusOf(address string) int {
	answer, err := http.Get("http://" + address + "/.well-known/pillion/ready")
	if err != nil {
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// riders come without pause until stop, half of them with POST, and say what failed.
func startRiders(t *testing.T, n int, url func(i int) string) (stop func()) {
	t.Helper()
	var all, failed atomic.Int64
	done := make(chan struct{})
	var riders sync.WaitGroup
	for i := range n {
		riders.Go(func() {
			for r := newRider(); ; {
				select {
				case <-done:
					return
				default:
				}
				all.Add(1)
				if err := r.ride([]string{"GET", "POST"}[i%2], url(i)); err != nil && failed.Add(1) < 5 {
					t.Errorf("rider %d: %v", i, err)
				}
			}
		})
	}
	return func() {
		close(done)
		riders.Wait()
		t.Logf("%d of %d requests failed", failed.Load(), all.Load())
		if all.Load() == 0 {
			t.Error("nobody came")
		}
	}
}

// A sidecar that an operator drains leaves its fleet, still serving, and rejoins it.
func TestDrainAndUndrainSidecar(t *testing.T) {
	s := startFleetSite(t)
	eventually(t, "both are registered", func() bool { return s.registered(t) == 2 })
	a1 := s.sidecars["a1"]
	r := newRider()
	if err := r.ride("POST", "http://"+a1.address); err != nil {
		t.Fatal(err)
	}
	code, out, errs := pillion(t, "drain", "--admin", a1.admin, "--wait")
	if code != 0 || !strings.HasSuffix(out, "drained: stopping it now cuts nothing short\n") {
		t.Fatalf("drain: %d\n%s%s", code, out, errs)
	}
	if n := s.registered(t); n != 1 {
		t.Errorf("%d are registered and do not drain", n)
	}
	if status := statusOf(a1.address); status != 503 {
		t.Errorf("its health path answers %d", status)
	}
	if err := r.ride("POST", "http://"+a1.address); err != nil { // it serves all the same
		t.Error(err)
	}
	if code, _, errs := pillion(t, "undrain", "--admin", a1.admin); code != 0 {
		t.Fatalf("undrain: %d %s", code, errs)
	}
	eventually(t, "both are registered again", func() bool { return s.registered(t) == 2 })
	if status := statusOf(a1.address); status != 200 {
		t.Errorf("its health path answers %d", status)
	}
}

// instead returns args with other values for some flags.
func instead(args []string, values map[string]string) []string {
	args = slices.Clone(args)
	for i := range args[1:] {
		if value, ok := values[args[i]]; ok {
			args[i+1] = value
		}
	}
	return args
}

// drain --wait says what it waits for, and that the time is over.
func TestDrainSaysWhatItWaitsFor(t *testing.T) {
	s := startFleetSite(t)
	finish := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-finish }))
	t.Cleanup(app.Close)
	end := sync.OnceFunc(func() { close(finish) })
	t.Cleanup(end)
	a3 := startCommand(t, append(instead(s.args["a1"], map[string]string{"--route": "a3", "--upstream": app.URL}), "--listen", "127.0.0.1:0")...)
	eventually(t, "it is registered and serves", func() bool { return s.registered(t) == 3 && statusOf(a3.address) == 200 })
	slow := make(chan error, 1)
	go func() {
		answer, err := http.Get("http://" + a3.address + "/")
		if err == nil {
			err = answer.Body.Close()
		}
		slow <- err
	}()
	if code, _, errs := pillion(t, "drain", "--admin", a3.admin); code != 0 {
		t.Fatal(errs)
	}
	eventually(t, "only the request is waited for", func() bool {
		var now struct{ Waiting []string }
		get(t, a3.admin, "/drain", &now)
		return slices.Equal(now.Waiting, []string{"1 requests under way"})
	})
	code, out, errs := pillion(t, "drain", "--admin", a3.admin, "--wait", "--timeout", "50ms")
	if code != 1 || !strings.Contains(out, "waiting: 1 requests under way") || !strings.Contains(errs, "the timeout is over; still waiting: 1 requests under way") {
		t.Errorf("drain --wait: %d\n%s%s", code, out, errs)
	}
	end()
	if code, out, errs := pillion(t, "drain", "--admin", a3.admin, "--wait"); code != 0 || !strings.Contains(out, "drained") {
		t.Errorf("drain --wait: %d\n%s%s", code, out, errs)
	}
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// A control plane that drains is not ready, and one that undrains is.
func TestDrainAndUndrainControlPlane(t *testing.T) {
	s := startFleetSite(t)
	ready := func() bool {
		var now struct{ Ready bool }
		get(t, s.plane.admin, "/ready", &now)
		return now.Ready
	}
	eventually(t, "it is ready and knows both", func() bool { return ready() && s.registered(t) == 2 })
	if code, out, errs := pillion(t, "drain", "--admin", s.plane.admin, "--wait"); code != 0 || ready() {
		t.Errorf("drain: %d, %s%s", code, out, errs)
	}
	if n := s.registered(t); n != 2 {
		t.Errorf("%d sidecars are registered", n)
	}
	if code, _, errs := pillion(t, "undrain", "--admin", s.plane.admin); code != 0 || !ready() {
		t.Errorf("undrain: %d, %s", code, errs)
	}
}

// A front that drains answers its health path with 503 and serves all the same.
func TestDrainAndUndrainFront(t *testing.T) {
	s := startFleetSite(t)
	f := startCommand(t, "front", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--session-cookie", "psid", "--drain-linger", "0s", "--backends", "a1="+s.sidecars["a1"].address)
	eventually(t, "it serves", func() bool { return statusOf(f.address) == 200 })
	if code, out, errs := pillion(t, "drain", "--admin", f.admin, "--wait"); code != 0 || statusOf(f.address) != 503 {
		t.Errorf("drain: %d, %s%s", code, out, errs)
	}
	answer, err := http.Get("http://" + f.address + "/counter")
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != 200 || !answer.Close {
		t.Errorf("%s, its connection closes: %t", answer.Status, answer.Close)
	}
	if code, _, errs := pillion(t, "undrain", "--admin", f.admin); code != 0 || statusOf(f.address) != 200 {
		t.Errorf("undrain: %d, %s", code, errs)
	}
}

// replaceable is a counter app that can be replaced under load.
type replaceable struct{ *apptest.Server }

func startReplaceable(t *testing.T, app http.Handler) replaceable {
	t.Helper()
	s, err := apptest.Start(app)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return replaceable{s}
}

func (a replaceable) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := a.End(ctx); err != nil {
		t.Fatal(err)
	}
}

func (a replaceable) start(t *testing.T) {
	t.Helper()
	if err := a.Again(); err != nil {
		t.Fatal(err)
	}
}

// An app is replaced behind its sidecar: behind a real Envoy no request fails and no change is lost.
func TestAppIsReplacedBehindItsSidecar(t *testing.T) {
	s := startFleetSite(t)
	eventually(t, "both are registered", func() bool { return s.registered(t) == 2 })
	startEnvoyOf(t, s.plane.address, "delta")
	url := fmt.Sprintf("http://127.0.0.1:%d", s.port)
	eventually(t, "the front serves", func() bool { return newRider().ride("GET", url) == nil })
	stop := startRiders(t, 4, func(int) string { return url })
	for range 2 {
		for _, route := range []string{"a1", "a2"} {
			s.apps[route].stop(t)
			eventually(t, route+" drains", func() bool { return s.registered(t) == 1 })
			if status := statusOf(s.sidecars[route].address); status != 503 {
				t.Errorf("%s: its health path answers %d", route, status)
			}
			s.apps[route].start(t)
			eventually(t, route+" is back", func() bool { return s.registered(t) == 2 })
		}
	}
	stop()
}

// upstream_check asks a path: an app that accepts connections may still be no good.
func TestUpstreamCheckAsksAPath(t *testing.T) {
	var sick atomic.Bool
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	app := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() && r.URL.Path == "/health" {
			w.WriteHeader(500)
		}
	})}
	go func() { _ = app.Serve(l) }()
	t.Cleanup(func() { _ = app.Close() })
	c := startCommand(t, "sidecar", "--app", "shop", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", "http://"+l.Addr().String(),
		"--upstream-check", "/health", "--ring-nodes", "n1="+startTestNode(t), "--drain-linger", "0s")
	for _, now := range []bool{false, true, false} {
		sick.Store(now)
		want := map[bool]int{false: 200, true: 503}[now]
		eventually(t, fmt.Sprintf("sick %t is a %d", now, want), func() bool { return statusOf(c.address) == want })
	}
}
