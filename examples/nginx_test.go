package examples_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

// TestNginx runs examples/nginx/nginx.conf, with other addresses, before two sidecars that know each other.
func TestNginx(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err := buildPillion(); err != nil {
		t.Fatal(err)
	}
	f := startNginxSite(t)
	t.Run("the home serves", f.homeServes)
	t.Run("no copy is stale", f.noCopyIsStale)
	t.Run("compresses for the app", f.compresses)
	t.Run("WebSocket", f.webSocket)
	t.Run("an app that is down", f.appDown)
	t.Run("a sidecar that is gone", f.sidecarGone)
}

// nginxSite is nginx before two sidecars with an app each.
type nginxSite struct {
	site
	admins   [2]string
	apps     [2]*http.Server
	sidecars [2]*exec.Cmd
}

func startNginxSite(t *testing.T) *nginxSite {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &nginxSite{site: site{space: "shop", nodes: []*memtest.Real{memtest.StartReal(t), memtest.StartReal(t)}}}
	addresses := [2]string{freeAddress(t), freeAddress(t)}
	for i, address := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f.apps[i] = &http.Server{Handler: namedApp(fmt.Sprintf("a%d", i+1))}
		go func() { _ = f.apps[i].Serve(l) }()
		t.Cleanup(func() { _ = f.apps[i].Close() })
		f.sidecars[i] = exec.Command(filepath.Join(work, "pillion"), "sidecar", "--app=shop", "--upstream=http://"+l.Addr().String(),
			"--listen="+address, "--admin=127.0.0.1:0", fmt.Sprintf("--route=a%d", i+1), "--peers=a1="+addresses[0], "--peers=a2="+addresses[1],
			"--ring-nodes=n1="+f.nodes[0].Addr, "--ring-nodes=n2="+f.nodes[1].Addr, "--ring-op-timeout=2s", "--commit-timeout=4s",
			"--keys=id=1,use=seal,file="+key, "--session-insecure-cookie", "--trusted-proxies=127.0.0.0/8")
		_, more := start(t, f.sidecars[i])
		f.admins[i] = "http://" + said(t, more, "admin on ")
		eventually(t, "the sidecar is ready", func() bool { return answers("http://" + address + "/.well-known/pillion/ready") })
	}
	f.url = "http://" + startNginx(t, addresses)
	return f
}

// startNginx gives the file the addresses of this test, and nginx a folder of its own.
func startNginx(t *testing.T, sidecars [2]string) (address string) {
	t.Helper()
	file, err := os.ReadFile("nginx/nginx.conf")
	if err != nil {
		t.Fatal(err)
	}
	dir, address := t.TempDir(), freeAddress(t)
	text := string(file)
	for from, to := range map[string]string{
		"10.100.0.20:8080 max": sidecars[0] + " max", "10.100.0.21:8080 max": sidecars[1] + " max", "listen 80;": "listen " + address + ";",
		"http {": "http { access_log off; client_body_temp_path " + dir + "/body; proxy_temp_path " + dir + "/proxy; fastcgi_temp_path " + dir +
			"/fastcgi; uwsgi_temp_path " + dir + "/uwsgi; scgi_temp_path " + dir + "/scgi;",
	} {
		if strings.Count(text, from) != 1 {
			t.Fatalf("nginx.conf has not one %q", from)
		}
		text = strings.Replace(text, from, to, 1)
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nginx", "-e", "stderr", "-c", conf, "-g", "daemon off; master_process off; error_log stderr; pid "+dir+"/pid;")
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if stop(cmd); t.Failed() {
			t.Logf("nginx said:\n%s", log.String())
		}
	})
	eventually(t, "nginx is there", func() bool { return answers("http://" + address + "/.well-known/pillion/ready") })
	return address
}

// namedApp says who it is. It counts, and speaks WebSocket.
func namedApp(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/count", func(w http.ResponseWriter, r *http.Request) {
		var session struct{ Count int }
		_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &session)
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{"count":%d}`, session.Count+1))
		fmt.Fprint(w, session.Count+1)
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Pillion-Session")) })
	mux.HandleFunc("/name", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
	mux.HandleFunc("/head", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_ = r.Header.Write(w)
		fmt.Fprint(w, strings.Repeat("compressible ", 200))
	})
	mux.HandleFunc("/talk", func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if c.Write(r.Context(), kind, fmt.Appendf(nil, "%s %s %s", name, r.Header.Get("Pillion-Session"), text)) != nil {
				return
			}
		}
	})
	return mux
}

// forwarded counts the requests that went on to another sidecar.
func (f *nginxSite) forwarded(t *testing.T) (n int) {
	t.Helper()
	for _, admin := range f.admins {
		resp, err := http.Get(admin + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if value, ok := strings.CutPrefix(lines.Text(), `pillion_session_events_total{event="forwarded"} `); ok {
				more, _ := strconv.Atoi(value)
				n += more
			}
		}
		_ = resp.Body.Close()
	}
	return n
}

// Half of the requests reach the sidecar that does not hold the session. They go on to the one that does, which serves them from its memory.
func (f *nginxSite) homeServes(t *testing.T) {
	v := f.visitor(t)
	v.get("/count")
	home, before := homeOf(v), f.forwarded(t)
	for range 20 {
		if name := v.get("/name"); name != home {
			t.Errorf("%s served a session of %s", name, home)
		}
	}
	if n := f.forwarded(t) - before; n != 10 {
		t.Errorf("%d of 20 requests went on to the home, want every other one", n)
	}
}

func homeOf(v *visitor) string { return v.id()[strings.LastIndex(v.id(), ".")+1:] }

// What a visitor wrote is there when he asks again, whichever sidecar he meets.
func (f *nginxSite) noCopyIsStale(t *testing.T) {
	v := f.visitor(t)
	for i := 1; i <= 40; i++ {
		if got := v.get("/count"); got != strconv.Itoa(i) {
			t.Fatalf("visit %d counts %s", i, got)
		}
		v.must(map[string]any{"count": i})
	}
}

// The visitor gets gzip, the app is not asked for it, and is told who the visitor is.
func (f *nginxSite) compresses(t *testing.T) {
	req, _ := http.NewRequest("GET", f.url+"/head", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("Content-Encoding is %q, want gzip", got)
	}
	body, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	head, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"X-Forwarded-For: 127.0.0.1, 127.0.0.1\r\n", "X-Forwarded-Proto: http\r\n", "X-Forwarded-Host: " + strings.TrimPrefix(f.url, "http://") + "\r\n"} {
		if !strings.Contains(string(head), want) {
			t.Errorf("the app does not see %q in\n%s", want, head)
		}
	}
	if strings.Contains(string(head), "Accept-Encoding") || strings.Contains(string(head), "192.0.2.1") {
		t.Errorf("the app sees\n%s", head)
	}
}

// A WebSocket has the visitor's session and its home, whichever sidecar nginx chose.
func (f *nginxSite) webSocket(t *testing.T) {
	v := f.visitor(t)
	v.get("/count")
	for range 2 {
		c, _, err := websocket.Dial(t.Context(), f.url+"/talk", &websocket.DialOptions{HTTPClient: &v.client})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		_, text, err := c.Read(t.Context())
		if want := homeOf(v) + ` {"count":1} hello`; err != nil || string(text) != want {
			t.Errorf("the app says %q, %v, want %q", text, err, want)
		}
		_ = c.CloseNow()
	}
}

// When the app of one is down, GETs go to the other; nobody sees what sidecars tell fronts.
func (f *nginxSite) appDown(t *testing.T) {
	_ = f.apps[0].Close()
	for range 10 {
		v := f.visitor(t)
		if name := v.get("/name"); name != "a2" {
			t.Errorf("%s answers, whose app is down", name)
		}
	}
	for range 4 {
		resp, err := http.Post(f.url+"/name", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.Header.Get("Pillion-Not-Executed") != "" {
			t.Error("a visitor sees Pillion-Not-Executed")
		}
	}
}

// When one is killed, its visitors go on at the other with what they had, POSTs too: nginx asks the other one when a connect is refused.
func (f *nginxSite) sidecarGone(t *testing.T) {
	visitors := make([]*visitor, 10)
	for i := range visitors {
		visitors[i] = f.visitor(t)
		visitors[i].get("/count")
	}
	stop(f.sidecars[0])
	for _, v := range visitors {
		for want := 2; want <= 4; want++ {
			if got, _ := v.ask(200, "POST", "/count"); got != strconv.Itoa(want) {
				t.Errorf("visit %d counts %s", want, got)
			}
		}
	}
}
