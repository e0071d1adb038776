package images_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRun starts each compose file and sends a visitor through it, while each sidecar and each memcached is replaced.
func TestRun(t *testing.T) {
	if os.Getenv(role) == "" {
		t.Skip("containers need root")
	}
	if found, _ := filepath.Glob("/opt/envoy/lib/python3*/site-packages/envoy/_bin"); len(found) > 0 {
		path += ":" + found[0]
	}
	for _, tool := range []string{"ip", "setpriv", "memcached", "nginx", "python3", "node", "envoy"} {
		if !installed(tool) {
			missing(t, tool+" is not in "+path)
		}
	}
	build(t)
	for _, file := range composeFiles {
		t.Run(file, func(t *testing.T) {
			s := startSite(t, file)
			v := s.visitor(t)
			v.count(10)
			s.meetsBothApps(t)
			for _, name := range s.project.ServiceNames() {
				c := s.containers[name]
				if !s.replaceable(c) {
					continue
				}
				t.Logf("%s is stopped", name)
				c.stop(t)
				v.count(4)
				c.start(t)
				s.awaitHealth(t, c)
				v.count(4)
			}
		})
	}
}

// installed looks where containers do: they see no other folder, and users other than root cannot look into root's.
func installed(tool string) bool {
	for _, dir := range filepath.SplitList(path) {
		if _, err := exec.LookPath(filepath.Join(dir, tool)); err == nil {
			return true
		}
	}
	return false
}

// replaceable are the sidecars and the nodes: there are two of each.
func (s *site) replaceable(c *container) bool {
	return c.service.Environment["PILLION_ROUTE"] != nil || strings.HasPrefix(c.service.Image, "memcached:")
}

// doors are the addresses of the published ports.
func (s *site) doors() (doors []string) {
	for _, name := range s.project.ServiceNames() {
		for _, port := range s.containers[name].service.Ports {
			doors = append(doors, net.JoinHostPort(s.addresses[name].String(), fmt.Sprint(port.Target)))
		}
	}
	return doors
}

// visitor counts and takes the doors in turn. A browser would take the next one when a connect is refused.
type visitor struct {
	t       *testing.T
	client  http.Client
	counted int
}

func (s *site) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	doors, next := s.doors(), 0
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var c net.Conn
		var err error
		for range doors {
			next++
			if c, err = (&net.Dialer{}).DialContext(ctx, network, doors[next%len(doors)]); err == nil {
				break
			}
		}
		return c, err
	}}
	return &visitor{t: t, client: http.Client{Jar: jar, Transport: transport, Timeout: 20 * time.Second}}
}

func (v *visitor) ask(method, target string) string {
	v.t.Helper()
	req, err := http.NewRequest(method, "http://shop.example"+target, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		v.t.Fatalf("%s %s: %s %s %v: %s", method, target, resp.Status, resp.Header.Get("Proxy-Status"), err, text)
	}
	return string(text)
}

// count adds to the count, and finds what it added.
func (v *visitor) count(times int) {
	v.t.Helper()
	for range times {
		v.counted++
		for _, what := range [][2]string{{"POST", "/counter"}, {"GET", "/get"}} {
			var answer struct{ Value, Count int }
			if err := json.Unmarshal([]byte(v.ask(what[0], what[1])), &answer); err != nil || answer.Value+answer.Count != v.counted {
				v.t.Fatalf("%s %s: %v, %v, want %d", what[0], what[1], answer, err, v.counted)
			}
		}
	}
}

// meetsBothApps: new visitors are spread over both languages.
func (s *site) meetsBothApps(t *testing.T) {
	t.Helper()
	met := map[string]bool{}
	for range 100 {
		page := s.visitor(t).ask("GET", "/")
		for _, name := range []string{"Python", "Node"} {
			if strings.Contains(page, "<strong>"+name+"</strong>") {
				met[name] = true
			}
		}
		if len(met) == 2 {
			return
		}
	}
	t.Errorf("visitors meet %v only", met)
}
