// Package counter_test holds the counter apps to one table: in every language they answer the same and ask for the same.
package counter_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/api"
)

// apps are the commands that build and run the counter of each language; DIR is a temporary directory.
var apps = []struct{ name, tool, build, run string }{
	{"Go", "go", "go build -o DIR/counter ./go", "DIR/counter"},
	{"Python", "python3", "", "python3 python/counter.py"},
	{"Node", "node", "", "node node/counter.mjs"},
	{"Java", "javac", "javac -d DIR java/Counter.java", "java -cp DIR Counter"},
}

// exchange is one request and what every app answers to it.
type exchange struct {
	target  string
	session string // Pillion-Session; "" is a session that is not inline
	handle  string
	status  int
	body    string // JSON; of the page, a part
	patch   string // JSON
	op      string
	subject string
}

// large is the session that the loopback API has under the handle "good".
var large = `{"blob":"` + strings.Repeat("x", 20_000) + `","count":41}`

var exchanges = []exchange{
	{target: "/counter", session: `{}`, body: `{"value":1}`, patch: `{"count":1}`},
	{target: "/counter?k=", session: `{"count":9,"other":3}`, body: `{"value":10}`, patch: `{"count":10}`},
	{target: "/counter?k=other", session: `{"count":9,"other":3}`, body: `{"value":4}`, patch: `{"other":4}`},
	{target: "/counter", session: `{"a":{"count":7},"b":["count",{"count":8}],"c":"\"count\":9","count":10}`, body: `{"value":11}`, patch: `{"count":11}`},
	{target: "/counter", session: `{"count":"a text"}`, body: `{"value":1}`, patch: `{"count":1}`},
	{target: "/counter?k=n%C3%A4me%22", session: `{"n\u00e4me\"":5}`, body: `{"value":6}`, patch: `{"näme\"":6}`},
	{target: "/counter?delay=20", session: `{}`, body: `{"value":1}`, patch: `{"count":1}`},
	{target: "/get", session: `{"big":9007199254740993,"text":"\ud83d\ude00"}`, body: `{"big":9007199254740993,"text":"😀"}`},
	{target: "/get", session: `{}`, body: `{}`},
	{target: "/set?k=a&v=b+c%26d", session: `{}`, body: `{"value":"b c&d"}`, patch: `{"a":"b c&d"}`},
	{target: "/set?v=%F0%9F%98%80%E2%80%A8%7F%22%5C%0A", session: `{}`, body: `{"value":"😀\u2028\u007f\"\\\n"}`, patch: `{"count":"😀\u2028\u007f\"\\\n"}`},
	{target: "/set?k=a", session: `{"a":"b"}`, body: `{"value":""}`, patch: `{"a":""}`},
	{target: "/size?bytes=3", session: `{}`, body: `{"value":"xxx"}`, patch: `{"blob":"xxx"}`},
	{target: "/size?bytes=-3", session: `{}`, body: `{"value":""}`, patch: `{"blob":""}`},
	{target: "/login?user=ada%40example.org", session: `{}`, body: `{"value":"ada@example.org"}`, patch: `{"user":"ada@example.org"}`, op: "renew", subject: `"ada@example.org"`},
	{target: "/login?user=a%22%5C", session: `{}`, body: `{"value":"a\"\\"}`, patch: `{"user":"a\"\\"}`, op: "renew", subject: `"a\"\\"`},
	{target: "/logout", session: `{"user":"ada"}`, body: `{"value":null}`, op: "destroy"},
	{target: "/invalidate", session: `{"user":"ada"}`, body: `{"value":null}`, op: "destroy"},
	{target: "/nowhere", session: `{}`, status: 404, body: `{"error":"no such page"}`},
	{target: "/get", handle: "good", body: large},
	{target: "/counter", handle: "good", body: `{"value":42}`, patch: `{"count":42}`},
	{target: "/get", handle: "stale", status: 503, body: `{"error":"session not readable"}`},
	{target: "/get", status: 503, body: `{"error":"session not readable"}`},
	{target: "/", session: `{"count":12}`, body: `>12<`},
	{target: "/", session: `{"count":12}`, body: `<strong>Blue `},
}

func TestCountersAnswerAlike(t *testing.T) {
	sidecar := httptest.NewServer(api.New(sessions{"good": large}))
	t.Cleanup(sidecar.Close)
	for _, app := range apps {
		t.Run(app.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(app.tool); err != nil {
				if os.Getenv("CI") == "true" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			dir := t.TempDir()
			if app.build != "" {
				if out, err := command(app.build, dir).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", app.build, err, out)
				}
			}
			address := start(t, command(app.run, dir), "NAME=Blue "+app.name, "PILLION_API="+sidecar.URL)
			client := &http.Client{Transport: &http.Transport{}}
			for _, x := range exchanges {
				x.try(t, client, "GET", address, nil)
				x.try(t, client, "POST", address, strings.NewReader("a body of known length"))
				x.try(t, client, "POST", address, io.MultiReader(strings.NewReader("a body in chunks")))
			}
		})
	}
}

// sessions is what the loopback API serves.
type sessions map[string]string

func (s sessions) ByHandle(handle string) ([]byte, string, bool) {
	object, ok := s[handle]
	return []byte(object), "1", ok
}

func command(line, dir string) *exec.Cmd {
	args := strings.Fields(strings.ReplaceAll(line, "DIR", filepath.ToSlash(dir)))
	return exec.Command(args[0], args[1:]...)
}

// start runs an app until the test ends, when SIGTERM must end it within seconds, and returns the address it prints.
func start(t *testing.T, app *exec.Cmd, env ...string) string {
	t.Helper()
	// The proxy leads nowhere: the loopback API is asked directly or not at all.
	app.Env = append(append(os.Environ(), "ADDR=127.0.0.1:0", "http_proxy=http://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1"), env...)
	app.Stderr = os.Stderr
	out, err := app.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
	}()
	t.Cleanup(func() { stop(t, app) })
	select {
	case text := <-line:
		address, ok := strings.CutPrefix(strings.TrimSpace(text), "listening on ")
		if !ok || !strings.HasPrefix(address, "127.0.0.1:") {
			t.Fatalf("first line %q, want: listening on 127.0.0.1:PORT", text)
		}
		return address
	case <-time.After(15 * time.Second):
		t.Fatal("the app does not say where it listens")
		return ""
	}
}

func stop(t *testing.T, app *exec.Cmd) {
	if err := app.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("the app ended before its time: %v", err)
	}
	overdue := time.AfterFunc(5*time.Second, func() {
		t.Error("SIGTERM did not end the app")
		_ = app.Process.Kill()
	})
	_ = app.Wait() // its status is the signal's or 0, as the language has it
	overdue.Stop()
}

// try sends the request as a sidecar would and compares everything that a sidecar or a visitor sees.
func (x exchange) try(t *testing.T, client *http.Client, method, address string, body io.Reader) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+address+x.target, body)
	if err != nil {
		t.Fatal(err)
	}
	if x.session != "" {
		req.Header.Set("Pillion-Session", x.session)
		req.Header.Set("Pillion-Meta", `v="1", new=?0, size=1, inline`)
	} else {
		req.Header.Set("Pillion-Meta", `v="1", new=?0, size=20000, inline=?0`)
		if x.handle != "" {
			req.Header.Set("Pillion-Handle", x.handle)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, x.target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, x.target, err)
	}
	if want := max(x.status, 200); resp.StatusCode != want {
		t.Errorf("%s %s: status %d, want %d: %s", method, x.target, resp.StatusCode, want, text)
	}
	if resp.ContentLength != int64(len(text)) || resp.Close {
		t.Errorf("%s %s: Content-Length %d of %d bytes, close %v", method, x.target, resp.ContentLength, len(text), resp.Close)
	}
	if kind := resp.Header.Get("Content-Type"); x.target == "/" {
		if !strings.Contains(string(text), x.body) || kind != "text/html; charset=utf-8" {
			t.Errorf("%s of %s does not show %q:\n%s", x.target, kind, x.body, text)
		}
	} else if !equal(t, string(text), x.body) || kind != "application/json" {
		t.Errorf("%s %s: %s of %s, want %s", method, x.target, text, kind, x.body)
	}
	x.instructions(t, resp.Header)
}

// instructions checks the Pillion fields of an answer: those wanted and no other.
func (x exchange) instructions(t *testing.T, h http.Header) {
	t.Helper()
	want := map[string]string{"Pillion-Patch": x.patch, "Pillion-Op": x.op, "Pillion-Subject": x.subject}
	for name := range h {
		if _, ok := want[name]; strings.HasPrefix(name, "Pillion-") && !ok {
			t.Errorf("%s: unexpected %s", x.target, name)
		}
	}
	for name, value := range want {
		got := strings.Join(h.Values(name), ", ")
		if strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r > 0x7E }) {
			t.Errorf("%s: %s is not ASCII: %q", x.target, name, got)
		}
		if got != value && (name != "Pillion-Patch" || value == "" || !equal(t, got, value)) {
			t.Errorf("%s: %s: got %s, want %s", x.target, name, got, value)
		}
	}
}

// equal compares two JSON texts, numbers by their digits.
func equal(t *testing.T, a, b string) bool {
	t.Helper()
	decode := func(text string) (v any) {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		return v
	}
	return reflect.DeepEqual(decode(a), decode(b))
}
