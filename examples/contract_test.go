// Package examples_test runs the examples as their readers do: the real `pillion sidecar` before each counter app, over real memcached
// nodes, with a browser's cookie jar in front.
package examples_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

const renewGrace = 5 * time.Second // in which the slowest machine sends three requests

func TestContract(t *testing.T) {
	if err := buildPillion(); err != nil {
		t.Fatal(err)
	}
	nodes := []*memtest.Real{memtest.StartReal(t), memtest.StartReal(t)}
	for _, l := range languages {
		for _, sticky := range []bool{true, false} {
			t.Run(l.name+map[bool]string{true: " sticky", false: " shared"}[sticky], func(t *testing.T) {
				t.Parallel()
				if _, err := exec.LookPath(l.tool); err != nil {
					if os.Getenv("CI") == "true" {
						t.Fatal(err)
					}
					t.Skip(err)
				}
				if l.build != nil {
					if err := l.build(); err != nil {
						t.Fatal(err)
					}
				}
				s := startSite(t, l, sticky, nodes)
				for name, drive := range map[string]func(*testing.T, *site){
					"nothing is stored for nothing": nothingForNothing, "the counter counts": counter, "texts of all kinds": texts,
					"large sessions": largeSessions, "login": login, "logout": logout, "parallel requests": parallel,
				} {
					t.Run(name, func(t *testing.T) { drive(t, s) })
				}
				t.Run("operators see no id", func(t *testing.T) { s.operatorsSeeNoID(t) })
			})
		}
	}
}

// site is one app behind its sidecar.
type site struct {
	url, admin, space string
	nodes             []*memtest.Real
	mu                sync.Mutex
	ids               []string // that visitors had
}

func startSite(t *testing.T, l language, sticky bool, nodes []*memtest.Real) *site {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, bytes.Repeat([]byte{7}, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	api := freeAddress(t)
	app, _ := start(t, command(l.run), "ADDR=127.0.0.1:0", "NAME="+l.name, "PILLION_API=http://"+api)
	s := &site{space: fmt.Sprintf("%s_%t", strings.ToLower(l.name), sticky), nodes: nodes}
	data, more := start(t, exec.Command(filepath.Join(work, "pillion"), "sidecar", "--app="+s.space, "--upstream=http://"+app,
		"--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--api-listen="+api, "--route=a1", fmt.Sprintf("--sticky=%t", sticky),
		"--ring-nodes=n1="+nodes[0].Addr, "--ring-nodes=n2="+nodes[1].Addr, "--ring-op-timeout=2s", "--commit-timeout=4s",
		"--keys=id=1,use=seal,file="+key, "--session-insecure-cookie", "--session-renew-grace="+renewGrace.String(), "--drain-linger=0s"))
	s.url, s.admin = "http://"+data, "http://"+said(t, more, "admin on ")
	eventually(t, "the sidecar is ready", func() bool { return answers(s.url + "/.well-known/pillion/ready") })
	return s
}

// stored counts this site's sessions on the nodes.
func (s *site) stored() int {
	keys := map[string]bool{}
	for _, n := range s.nodes {
		for _, key := range n.Keys() {
			if strings.HasPrefix(key, "p1:"+s.space+":") {
				keys[key] = true
			}
		}
	}
	return len(keys)
}

// visitor is a browser.
type visitor struct {
	t      *testing.T
	s      *site
	client http.Client
}

func (s *site) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, s, http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

// with is another browser with that id.
func (v *visitor) with(id string) *visitor {
	other := v.s.visitor(v.t)
	other.client.Jar.SetCookies(v.home(), []*http.Cookie{{Name: "psid", Value: id, Path: "/"}})
	return other
}

func (v *visitor) home() *url.URL {
	u, err := url.Parse(v.s.url)
	if err != nil {
		v.t.Fatal(err)
	}
	return u
}

func (v *visitor) id() string {
	for _, c := range v.client.Jar.Cookies(v.home()) {
		if c.Name == "psid" {
			v.s.mu.Lock()
			defer v.s.mu.Unlock()
			v.s.ids = append(v.s.ids, c.Value)
			return c.Value
		}
	}
	return ""
}

// ask sends a request and returns its answer, which must have that status.
func (v *visitor) ask(status int, method, target string) (string, http.Header) {
	v.t.Helper()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("field=value")
	}
	req, err := http.NewRequest(method, v.s.url+target, body)
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status {
		v.t.Fatalf("%s %.60s: %d %s, %v: %.200s", method, target, resp.StatusCode, resp.Header.Get("Proxy-Status"), err, text)
	}
	for field := range resp.Header {
		if strings.HasPrefix(strings.ToLower(field), "pillion") {
			v.t.Errorf("%s %s: the visitor sees %s", method, target, field)
		}
	}
	return string(text), resp.Header
}

func (v *visitor) get(target string) string {
	v.t.Helper()
	text, _ := v.ask(200, "GET", target)
	return text
}

// value is what the app says it stored.
func (v *visitor) value(method, target string) any {
	v.t.Helper()
	text, _ := v.ask(200, method, target)
	var answer struct{ Value any }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		v.t.Fatalf("%s: %v", text, err)
	}
	return answer.Value
}

// must fails the test unless the app shows this session.
func (v *visitor) must(want map[string]any) {
	v.t.Helper()
	var got map[string]any
	text := v.get("/get")
	if err := json.Unmarshal([]byte(text), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		v.t.Errorf("the session is %.300s, want %.300v", text, want)
	}
}
