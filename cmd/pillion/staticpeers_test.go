package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/demo"
)

// staticSite is two sidecars that know each other by their settings alone, and no control plane.
type staticSite struct {
	apps     map[string]replaceable
	args     map[string][]string
	sidecars map[string]command
}

func startStaticSite(t *testing.T, app func(route string) http.Handler) *staticSite {
	t.Helper()
	s := &staticSite{apps: map[string]replaceable{}, args: map[string][]string{}, sidecars: map[string]command{}}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	n1, n2 := startTestNode(t), startTestNode(t)
	ports := map[string]int{"a1": freePort(t), "a2": freePort(t)}
	for _, route := range []string{"a1", "a2"} {
		s.apps[route] = startReplaceable(t, app(route))
		other := map[string]string{"a1": "a2", "a2": "a1"}[route]
		s.args[route] = []string{
			"sidecar", "--app", "shop", "--route", route, "--upstream", "http://" + s.apps[route].Address(), "--admin", "127.0.0.1:0",
			"--listen", fmt.Sprintf("127.0.0.1:%d", ports[route]), "--peers", fmt.Sprintf("%s=127.0.0.1:%d", other, ports[other]),
			"--ring-op-timeout=1s", "--commit-timeout=5s", "--session-insecure-cookie", "--ring-nodes", "n1=" + n1, "--ring-nodes", "n2=" + n2,
			"--keys", "id=1,file=" + key + ",use=seal",
		}
		s.start(t, route)
	}
	for _, c := range s.sidecars {
		eventually(t, "it serves", func() bool { return statusOf(c.address) == 200 })
	}
	return s
}

func (s *staticSite) start(t *testing.T, route string) {
	t.Helper()
	s.sidecars[route] = startCommand(t, s.args[route]...)
	eventually(t, route+" serves", func() bool { return statusOf(s.sidecars[route].address) == 200 })
}

// freePort is for servers whose address others must know before they start.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		l, err := listen("test", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000)))
		if err != nil {
			continue
		}
		defer l.Close()
		_, port, _ := strings.Cut(l.Addr().String(), ":")
		var n int
		_, _ = fmt.Sscan(port, &n)
		return n
	}
	t.Fatal("no free port")
	return 0
}

const nginxConf = `daemon off; master_process off; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	upstream fleet { server %[2]s max_fails=0; server %[3]s max_fails=0; }
	server {
		listen 127.0.0.1:%[4]d;
		location / {
			proxy_pass http://fleet;
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
		}
	}
}
`

// startNginxBefore starts an nginx that sends requests to two sidecars by turns.
func startNginxBefore(t *testing.T, one, two string) (url string) {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		if binary, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal("nginx is missing: apt-get install nginx-light")
			}
			t.Skip("nginx is not installed")
		}
	}
	dir, port := t.TempDir(), freePort(t)
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, one, two, port), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	url = fmt.Sprintf("http://127.0.0.1:%d", port)
	eventually(t, "nginx serves", func() bool { return newRider().ride("GET", url) == nil })
	return url
}

// nginx sends requests to two sidecars by turns, and these know each other by their settings alone. Each sidecar and each app is replaced in
// turn: no request fails, no change is lost.
func TestRollingRestartBehindNginx(t *testing.T) {
	for _, what := range []string{"sidecars", "apps"} {
		t.Run(what, func(t *testing.T) {
			s := startStaticSite(t, demo.App)
			url := startNginxBefore(t, s.sidecars["a1"].address, s.sidecars["a2"].address)
			stop := startRiders(t, 4, func(int) string { return url })
			for range 2 {
				for _, route := range []string{"a1", "a2"} {
					if what == "sidecars" {
						s.sidecars[route].stop()
						s.start(t, route)
						continue
					}
					s.apps[route].stop(t)
					eventually(t, route+" sends visitors elsewhere", func() bool { return statusOf(s.sidecars[route].address) == 503 })
					s.apps[route].start(t)
					eventually(t, route+" serves again", func() bool { return statusOf(s.sidecars[route].address) == 200 })
				}
			}
			stop()
		})
	}
}
