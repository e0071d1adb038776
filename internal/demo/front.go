package demo

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

const (
	cookieName  = "psid"
	sessionPath = "/.well-known/pillion/demo/session"
)

// Sidecar is one backend of the demo's front.
type Sidecar struct{ Route, Address string }

// Front is the demo's load balancer: it sends a visitor to the sidecar named in the session id, and to another one when that does not
// accept connections, or its app does not. It knows no health and no fleet; a real front does.
type Front struct {
	sidecars []Sidecar
	sticky   bool
	space    string
	turn     atomic.Uint32
	proxy    *httputil.ReverseProxy
	sidecar  http.RoundTripper
}

// NewFront returns the front of those sidecars.
func NewFront(sidecars []Sidecar, sticky bool, space string) *Front {
	f := &Front{sidecars: sidecars, sticky: sticky, space: space, sidecar: &http.Transport{
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, MaxIdleConnsPerHost: 1024, DisableCompression: true,
	}}
	f.proxy = &httputil.ReverseProxy{Transport: f, FlushInterval: -1, ErrorHandler: apologize, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: "sidecar"})
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
	return f
}

// ServeHTTP answers the page's question about the session itself, and proxies the rest.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == sessionPath {
		f.describe(w, r)
		return
	}
	f.proxy.ServeHTTP(w, r)
}

// describe tells what can be read off the id: the cookie itself is not for scripts.
func (f *Front) describe(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{}
	if id, ok := idOf(r); ok {
		answer = map[string]any{"node": id.Node, "route": id.Route, "epoch": id.Epoch, "ref": ring.Ref(f.space, id.Random)}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer)
}

// RoundTrip tries the sidecars in their order for this request. Only a refused connection leads to the next one: then nothing was
// executed. Whatever broke later may have been.
func (f *Front) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	order := f.order(r)
	for i, s := range order {
		out := r.Clone(r.Context())
		out.URL.Host = s.Address
		if r.Body != nil {
			out.Body = io.NopCloser(r.Body) // Transport closes it also when it has not begun to send
		}
		resp, err = f.sidecar.RoundTrip(out)
		last := i == len(order)-1
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
		case err == nil && !last && r.Body == nil && appRefused(resp):
			_ = resp.Body.Close()
		default:
			return resp, err
		}
	}
	return resp, err
}

// appRefused tells whether the answer is the sidecar's own and says that its app accepts no connection.
func appRefused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(resp.Header.Get("Proxy-Status"), "error=app_unreachable")
}

// apologize answers when no sidecar did.
func apologize(w http.ResponseWriter, _ *http.Request, err error) {
	w.Header().Set("Cache-Control", "no-store")
	if errors.Is(err, syscall.ECONNREFUSED) {
		http.Error(w, "No sidecar is alive.", http.StatusServiceUnavailable)
		return
	}
	http.Error(w, "The sidecar died with this request in its hands.", http.StatusBadGateway)
}

// order puts the visitor's home first in sticky mode, and takes turns otherwise.
func (f *Front) order(r *http.Request) []Sidecar {
	n := len(f.sidecars)
	first := int(f.turn.Add(1)) % n
	if id, ok := idOf(r); ok && f.sticky {
		for i, s := range f.sidecars {
			if s.Route == id.Route {
				first = i
			}
		}
	}
	order := make([]Sidecar, 0, n)
	for i := range n {
		order = append(order, f.sidecars[(first+i)%n])
	}
	return order
}

func idOf(r *http.Request) (ring.ID, bool) {
	for _, cookie := range r.CookiesNamed(cookieName) {
		if id, err := ring.ParseID(cookie.Value); err == nil {
			return id, true
		}
	}
	return ring.ID{}, false
}
