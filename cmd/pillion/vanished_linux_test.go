package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/demo"
)

// ownNetwork runs the rest of a test in a network of its own, where it may drop packets: in a child process. It tells whether this is that child.
func ownNetwork(t *testing.T) (inside bool) {
	t.Helper()
	const child = "PILLION_TEST_NETWORK"
	if os.Getenv(child) != "" {
		return true
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "2m")
	cmd.Env = append(os.Environ(), child+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if uid := os.Getuid(); uid != 0 { // no root where users may make namespaces
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if t.Logf("%s", out); err != nil {
		t.Fatal(err)
	}
	return false
}

// inNetwork runs a tool that sets the network up.
func inNetwork(t *testing.T, stdin, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// A host vanishes with requests in its hands that another sidecar has forwarded there, and no connection to it ends. The safe one is served
// elsewhere, the other one is answered, and both long before upstream_timeout. One that a slow app works on is waited for.
func TestVanishedHost(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	inNetwork(t, "", "ip", "link", "set", "lo", "up")
	arrived, over := make(chan struct{}, 2), make(chan struct{})
	s := startStaticSite(t, func(route string) http.Handler {
		counter := demo.App(route)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if route == "a1" && r.FormValue("hold") != "" {
				arrived <- struct{}{}
				<-over
			}
			counter.ServeHTTP(w, r)
		})
	})
	defer close(over)
	a1, a2 := "http://"+s.sidecars["a1"].address, "http://"+s.sidecars["a2"].address
	type outcome struct {
		status int
		text   string
		took   time.Duration
	}
	ask := func(r *rider, method, url string) chan outcome {
		done := make(chan outcome, 1)
		q, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			begun := time.Now()
			answer, err := (&http.Client{Jar: r.client.Jar, Timeout: time.Minute}).Do(q)
			if err != nil {
				done <- outcome{text: err.Error()}
				return
			}
			defer answer.Body.Close()
			text, _ := io.ReadAll(answer.Body)
			done <- outcome{answer.StatusCode, string(text), time.Since(begun)}
		}()
		return done
	}
	riders := [3]*rider{newRider(), newRider(), newRider()}
	for i, home := range []string{a1, a1, a2} {
		if err := riders[i].ride("POST", home); err != nil {
			t.Fatal(err)
		}
	}
	get, post := ask(riders[0], "GET", a2+"/get?hold=1"), ask(riders[1], "POST", a2+"/get?hold=1")
	<-arrived
	<-arrived
	_, port, _ := strings.Cut(s.sidecars["a1"].address, ":")
	inNetwork(t, fmt.Sprintf("table inet gone {\n chain out {\n  type filter hook output priority 0;\n  tcp dport %[1]s drop\n  tcp sport %[1]s drop\n }\n}\n", port), "nft", "-f", "-")
	slow := ask(riders[2], "POST", a2+"/get?delay=8000")
	if got := <-get; got.status != 200 || !strings.Contains(got.text, `"count":1`) {
		t.Errorf("GET: %+v", got)
	} else {
		t.Logf("GET: after %v", got.took)
	}
	if got := <-post; got.status != 502 {
		t.Errorf("POST: %+v", got)
	}
	if got := <-slow; got.status != 200 {
		t.Errorf("a slow app: %+v", got)
	}
	if err := riders[1].ride("POST", a2); err != nil {
		t.Errorf("the session: %v", err)
	}
	inNetwork(t, "", "nft", "delete", "table", "inet", "gone") // so that a1 can end
}
