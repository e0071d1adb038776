package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// fleet is an app, sidecars before it and two nodes.
type fleet struct {
	app      *pageApp
	nodes    []*node
	sidecars []*server
}

// server is a running Pillion command: a sidecar or a front.
type server struct {
	*process
	address, admin string
	route          string // of a sidecar
}

// startFleet starts one sidecar before an app of its own.
func (l *lab) startFleet(settings ...string) (*fleet, error) {
	app, err := newLoopbackApp()
	if err != nil {
		return nil, err
	}
	return l.startFleetBefore(app, []string{"a1"}, settings...)
}

// startFleetBefore starts a sidecar for each route, with everything on and some settings more.
func (l *lab) startFleetBefore(app *pageApp, routes []string, settings ...string) (*fleet, error) {
	f := &fleet{app: app}
	var err error
	if f.nodes, err = l.startNodes(); err != nil {
		return nil, err
	}
	for _, route := range routes {
		s, err := l.startSidecar(app.upstream(), route, f.nodes, settings...)
		if err != nil {
			return nil, err
		}
		f.sidecars = append(f.sidecars, s)
	}
	return f, nil
}

// startSidecar gives nodes as long as msm does: the load takes every core, and a slow node is not what is measured.
func (l *lab) startSidecar(upstream, route string, nodes []*node, settings ...string) (*server, error) {
	args := []string{
		"sidecar", "--app=bench", "--route=" + route, "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--upstream=" + upstream,
		"--session-insecure-cookie", "--keys=id=1,use=seal,file=" + l.key, "--ring-local-nodes=none", "--limits-connections=20000",
		"--ring-op-timeout=1s", "--commit-timeout=2s", "--log-level=warn",
	}
	for i, n := range nodes {
		args = append(args, fmt.Sprintf("--ring-nodes=n%d=%s", i+1, n.address))
	}
	s, err := l.startServer(append(args, settings...)...)
	if err == nil {
		s.route = route
	}
	return s, err
}

// startServer starts a Pillion command and waits for the addresses that it prints.
func (l *lab) startServer(args ...string) (*server, error) {
	p, err := l.start(l.pillion, args...)
	if err != nil {
		return nil, err
	}
	if err := p.stdout.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	s := &server{process: p}
	for lines := bufio.NewScanner(p.stdout); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			s.address = address
		}
		if address, ok := strings.CutPrefix(lines.Text(), "admin on "); ok {
			s.admin = address
			return s, nil
		}
	}
	return nil, fmt.Errorf("pillion %s did not start:\n%s", args[0], p.lastWords())
}

func (f *fleet) stop() {
	for _, s := range f.sidecars {
		s.stop()
	}
	for _, n := range f.nodes {
		n.stop()
	}
	f.app.listener.Close()
}

// newSessions lets n visitors come to base for the first time, and returns the cookies they got.
func newSessions(base string, n int) ([]string, error) {
	cookies := make([]string, 0, n)
	for range n {
		cookie, err := visit(base+fillPath, "")
		if err != nil {
			return nil, err
		}
		if cookie == "" {
			return nil, fmt.Errorf("%s gave no cookie to a new session", base)
		}
		cookies = append(cookies, cookie)
	}
	return cookies, nil
}

// visit makes one request, and returns the cookie that its answer sets.
func visit(url, cookie string) (string, error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", err
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	resp, err := visitor.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", url, resp.Status, resp.Header.Get("Proxy-Status"))
	}
	set, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	return set, nil
}
