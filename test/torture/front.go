package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// outFor is how long the front leaves a sidecar alone that did not answer in time.
const outFor = time.Second

// front chooses a sidecar for each request, as a load balancer does: the one that the id names in sticky mode, else one after the other.
// A sidecar that refuses connections is passed over in the same request, for it did nothing. One that is silent fails the request, which
// it may have done, and is left alone for a while. It is part of the client, so that no hop of its own is measured.
type front struct {
	sticky   bool
	sidecars []*backend
	through  string // send everything to this proxy instead
	timeout  time.Duration
	turn     atomic.Uint32
	http     *http.Client
}

type backend struct {
	route, address string
	outUntil       atomic.Int64
}

func newFront(sticky bool) *front {
	return &front{sticky: sticky, timeout: patience, http: &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: 1024, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (f *front) add(route, address string) {
	f.sidecars = append(f.sidecars, &backend{route: route, address: address})
}

func (f *front) close() { f.http.CloseIdleConnections() }

// answer is what a client learns.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// send makes one request with the visitor's cookie.
func (f *front) send(method, path, cookie string) (a answer, err error) {
	if f.through != "" {
		return f.sendTo(f.through, method, path, cookie)
	}
	for _, b := range f.order(cookie) {
		a, err = f.sendTo(b.address, method, path, cookie)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) {
			b.outUntil.Store(time.Now().Add(outFor).UnixNano())
		}
		return a, err
	}
	return a, err
}

// order lists the sidecars for one request; those that were silent lately come last.
func (f *front) order(cookie string) (order []*backend) {
	n := len(f.sidecars)
	first := int(f.turn.Add(1)) % n
	if _, route, ok := strings.Cut(cookie, "."); ok && f.sticky {
		for i, b := range f.sidecars {
			if b.route == route {
				first = i
			}
		}
	}
	var silent []*backend
	for i := range n {
		b := f.sidecars[(first+i)%n]
		if time.Now().UnixNano() < b.outUntil.Load() {
			silent = append(silent, b)
		} else {
			order = append(order, b)
		}
	}
	return append(order, silent...)
}

// sendTo makes one request of one sidecar. A POST is not repeated by net/http once a byte of it was written.
func (f *front) sendTo(address, method, path, cookie string) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), f.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, nil)
	if err != nil {
		return answer{}, err
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookieName+"="+cookie)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, body}, err
}

// nginx is a real round-robin front, nil where it is not installed.
func nginx(dir, address string, sidecars []string) *process {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr warn;
events { worker_connections 512; }
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream sidecars { server %[3]s; server %[4]s; keepalive 64; }
  server { listen %[2]s; location / { proxy_pass http://sidecars; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; } }
}`, dir, address, sidecars[0], sidecars[1])
	if os.Getuid() == 0 {
		text = "user root;\n" + text
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil
	}
	return &process{name: "nginx", address: address, program: program, args: []string{"-p", dir, "-c", conf}, log: filepath.Join(dir, "nginx.log")}
}
