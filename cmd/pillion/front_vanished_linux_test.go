package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// waited is what became of a request, and after what time.
type waited struct {
	status int
	text   string
	took   time.Duration
}

// askLong asks with a cookie and waits for as long as any front may take.
func askLong(method, url, cookie string) chan waited {
	done := make(chan waited, 1)
	go func() {
		start := time.Now()
		q, err := http.NewRequest(method, url, nil)
		if err != nil {
			done <- waited{text: err.Error()}
			return
		}
		q.Header.Set("Cookie", cookie)
		answer, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
		if err != nil {
			done <- waited{text: err.Error(), took: time.Since(start)}
			return
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		done <- waited{answer.StatusCode, string(text), time.Since(start)}
	}()
	return done
}

// A sidecar's host vanishes behind a front, and no connection to it ends. What it had in its hands is given up, by our front after 3 s of
// silence, by Envoy after 20 s: a GET is served elsewhere, a POST has its answer. So is what a kept connection took after that.
func TestVanishedHostBehindFronts(t *testing.T) {
	if !ownNetwork(t) {
		return
	}
	inNetwork(t, "", "ip", "link", "set", "lo", "up")
	port := 20000 + rand.IntN(12000)
	services := filepath.Join(t.TempDir(), "services.yaml")
	if err := os.WriteFile(services, fmt.Appendf(nil, "apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port), 0o600); err != nil {
		t.Fatal(err)
	}
	plane := startCommand(t, "control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--hold-off", "0s", "--services", services)
	s1 := startStandIn(t, plane.address, "shop", "s1")
	startStandIn(t, plane.address, "shop", "s2")
	defer s1.release()
	front := runInProcess(t, "front", "--control-plane", plane.address, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--drain-linger", "0s")
	front.says("admin on")
	fronts := map[string]string{"front": front.says("listening on")}
	go func() { _, _ = io.Copy(io.Discard, front.lines) }()
	if _, err := os.Stat("/opt/envoy/bin/envoy"); err == nil || os.Getenv("CI") == "true" {
		startEnvoyOf(t, plane.address, "delta")
		fronts["envoy"] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	const visitor = "__Host-psid=token-n1.s1"
	late := map[string]chan waited{}
	for name, address := range fronts {
		eventually(t, name+" serves all", func() bool {
			_, one := ask(address, "GET", "x", "/", mallCookie("s1"))
			_, two := ask(address, "GET", "x", "/", mallCookie("s2"))
			return len(one) > 7 && one[:7] == "shop s1" && len(two) > 7 && two[:7] == "shop s2"
		})
		before := s1.requests.Load()
		for _, method := range []string{"GET", "POST"} {
			late[name+" "+method] = askLong(method, "http://"+address+"/?hang-s1", visitor)
		}
		eventually(t, "both hang", func() bool { return s1.requests.Load() == before+2 })
		if got := <-askLong("GET", "http://"+address+"/", visitor); got.status != 200 { // a connection that is kept
			t.Fatalf("%+v", got)
		}
	}
	_, at, _ := net.SplitHostPort(s1.address)
	inNetwork(t, fmt.Sprintf("table inet gone {\n chain in {\n  type filter hook input priority 0;\n  tcp dport %[1]s drop\n  tcp sport %[1]s drop\n }\n}\n", at), "nft", "-f", "-")
	for name, address := range fronts {
		late[name+" GET on a kept connection"] = askLong("GET", "http://"+address+"/", visitor)
	}
	var all sync.WaitGroup
	for what, answer := range late {
		all.Go(func() {
			got := <-answer
			t.Logf("%s: %d %q after %v", what, got.status, got.text[:min(len(got.text), 60)], got.took.Round(100*time.Millisecond))
			switch post := what == "front POST" || what == "envoy POST"; {
			case post && got.status != 502 && got.status != 503:
				t.Errorf("%s: %+v", what, got)
			case !post && (got.status != 200 || got.text[:7] != "shop s2"):
				t.Errorf("%s: %+v", what, got)
			}
		})
	}
	all.Wait()
	inNetwork(t, "", "nft", "delete", "table", "inet", "gone")
}
