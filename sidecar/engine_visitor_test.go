package sidecar_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// script is what the app does with one request.
type script func(w http.ResponseWriter, r *http.Request)

// app runs the script that a request names, and remembers the request.
type app struct {
	listener *listener
	mu       sync.Mutex
	scripts  []script
	seen     map[string]*seen
}

// seen is a request as the app got it.
type seen struct {
	*http.Request
	body string
}

func newApp(t testing.TB) *app {
	a := &app{listener: newListener(), seen: map[string]*seen{}}
	server := &http.Server{Handler: a}
	go func() { _ = server.Serve(a.listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return a
}

const scriptField = "X-Script"

func (a *app) add(s script) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.scripts = append(a.scripts, s)
	return strconv.Itoa(len(a.scripts) - 1)
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get(scriptField)
	number, _ := strconv.Atoi(name)
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen[name] = &seen{r, string(body)}
	do := a.scripts[number]
	a.mu.Unlock()
	if do != nil {
		do(w, r)
	}
}

func (a *app) request(name string) *seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.seen[name]
}

// session is what the app was given, "" when nothing inline.
func (s *seen) session() string { return s.Header.Get("Pillion-Session") }

// meta is one member of Pillion-Meta, "" when it is absent.
func (s *seen) meta(member string) string {
	for part := range strings.SplitSeq(s.Header.Get("Pillion-Meta"), ", ") {
		if name, value, _ := strings.Cut(part, "="); name == member {
			return strings.Trim(value, `"`) + map[bool]string{true: "?1"}[name == part]
		}
	}
	return ""
}

// says makes the app answer with these fields; ":status" is the status.
func says(pairs ...string) script {
	return func(w http.ResponseWriter, _ *http.Request) {
		status := 200
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == ":status" {
				status, _ = strconv.Atoi(pairs[i+1])
				continue
			}
			w.Header()[pairs[i]] = append(w.Header()[pairs[i]], pairs[i+1])
		}
		w.WriteHeader(status)
	}
}

func patch(object string) script { return says("Pillion-Patch", object) }
func op(names string) script     { return says("Pillion-Op", names) }

// held does the same as s once it is told to go on; arrived is closed when the app has the request.
func held(s script) (do script, arrived, goOn chan struct{}) {
	arrived, goOn = make(chan struct{}), make(chan struct{})
	return func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		s(w, r)
	}, arrived, goOn
}

// visitor is a browser: it keeps cookies as RFC 6265bis says, and its connection is as good as TLS.
type visitor struct {
	t   testing.TB
	jar *prefixJar
	at  *process // the sidecar that the front sends it to
}

func (p *process) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.f.t.Fatal(err)
	}
	return &visitor{t: p.f.t, jar: &prefixJar{jar}, at: p}
}

// prefixJar adds the rules for the prefixes of a cookie's name, which net/http/cookiejar leaves out.
type prefixJar struct{ *cookiejar.Jar }

func (j *prefixJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	var kept []*http.Cookie
	for _, c := range cookies {
		host := strings.HasPrefix(c.Name, "__Host-") && (!c.Secure || c.Domain != "" || c.Path != "/")
		if !host && (c.Secure || !strings.HasPrefix(c.Name, "__Secure-")) {
			kept = append(kept, c)
		}
	}
	j.Jar.SetCookies(u, kept)
}

var site = &url.URL{Scheme: "https", Host: "shop.test", Path: "/"}

// id is the session id in the jar, "" when it has none.
func (v *visitor) id() string {
	for _, c := range v.jar.Cookies(site) {
		if c.Name == v.at.setup.Cookie.Name {
			return c.Value
		}
	}
	return ""
}

// parsed is that id, which must be one.
func (v *visitor) parsed() ring.ID {
	v.t.Helper()
	id, err := ring.ParseID(v.id())
	if err != nil {
		v.t.Fatalf("the cookie %q: %v", v.id(), err)
	}
	return id
}

// take puts an id into the jar.
func (v *visitor) take(id string) *visitor {
	v.jar.Jar.SetCookies(site, []*http.Cookie{{Name: v.at.setup.Cookie.Name, Value: id, Path: "/", Secure: true}})
	return v
}

// answer is what the visitor got, and what the app had been given.
type answer struct {
	*http.Response
	body string
	cut  error  // why the body is incomplete
	app  *seen  // nil when the request never reached it
	ours string // our cookie's name
}

// setCookie is our Set-Cookie, "" when there is none.
func (a *answer) setCookie() string {
	for _, line := range a.Header.Values("Set-Cookie") {
		if name, _, _ := strings.Cut(line, "="); name == a.ours {
			return line
		}
	}
	return ""
}

// token is the Proxy-Status error of an answer that is Pillion's own.
func (a *answer) token() string {
	_, rest, _ := strings.Cut(a.Header.Get("Proxy-Status"), "error=")
	token, _, _ := strings.Cut(rest, ";")
	return token
}

// get asks for / and lets the app do s.
func (v *visitor) get(s script, fields ...string) *answer {
	v.t.Helper()
	return v.ask("GET", "/", s, fields...)
}

func (v *visitor) ask(method, target string, s script, fields ...string) *answer {
	v.t.Helper()
	a, err := v.try(context.Background(), method, target, s, fields...)
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

func (v *visitor) try(ctx context.Context, method, target string, s script, fields ...string) (*answer, error) {
	name := v.at.f.app.add(s)
	req, err := http.NewRequestWithContext(ctx, method, "https://"+site.Host+target, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(scriptField, name)
	for i := 0; i < len(fields); i += 2 {
		req.Header[fields[i]] = append(req.Header[fields[i]], fields[i+1])
	}
	client := http.Client{Jar: v.jar, Transport: v.at.client, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, cut := io.ReadAll(resp.Body)
	return &answer{resp, string(body), cut, v.at.f.app.request(name), v.at.setup.Cookie.Name}, nil
}

// session is what the app is given for this visitor.
func (v *visitor) session() string {
	v.t.Helper()
	a := v.get(nil)
	if a.app == nil {
		v.t.Fatalf("the app was not asked: %d %s", a.StatusCode, a.token())
	}
	return a.app.session()
}

// must fails the test unless the visitor's session is the one wanted.
func (v *visitor) must(want string) {
	v.t.Helper()
	if got := v.session(); got != want {
		v.t.Errorf("the session is %s, want %s", got, want)
	}
}

// counted is the value of one of the process's counters: name without its prefix, labels in any order.
func (p *process) counted(name string, labels ...string) float64 {
	p.f.t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		p.f.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "pillion_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			have := fmt.Sprint(m.GetLabel())
			if !containsAll(have, labels) {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return 0
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, strconv.Quote(part)) {
			return false
		}
	}
	return true
}
