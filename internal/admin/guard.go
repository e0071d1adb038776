package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"mime"
	"net/http"
	"strings"

	"github.com/pillion-proxy/pillion/internal/loopback"
)

// guard decides who may ask (A2). In order:
//
//   - Host names this machine or is one of admin_hosts, or DNS rebinding could make a page our own origin;
//   - a listener that other machines reach wants the token, for all but probes and metrics;
//   - a page in a browser is of this origin, unless it shows the token, which no foreign page knows;
//   - a change is JSON, which no form can send.
type guard struct {
	next    http.Handler
	hosts   []string
	exposed bool
	token   string
}

func newGuard(opts Options, next http.Handler) *guard {
	return &guard{next: next, hosts: opts.Hosts, exposed: opts.Listener == nil || !loopback.Addr(opts.Listener), token: opts.Token}
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	change := r.Method != http.MethodGet && r.Method != http.MethodHead
	token := g.hasToken(r)
	switch {
	case !loopback.Host(r, g.hosts...):
		fail(w, http.StatusForbidden, "Host does not name this listener: use its address, or add the name to admin_hosts")
	case g.exposed && !token && !public(r.URL.Path, change):
		g.askForToken(w)
	case !loopback.SameOrigin(r) && !(change && token):
		fail(w, http.StatusForbidden, "this listener answers no pages of other sites")
	case change && !isJSON(r):
		fail(w, http.StatusUnsupportedMediaType, "a change is a request with Content-Type: application/json")
	default:
		g.next.ServeHTTP(w, r)
	}
}

// public tells whether probes and scrapers, which have no token, may read path.
func public(path string, change bool) bool {
	return !change && (path == "/health" || path == "/ready" || path == "/metrics")
}

// hasToken compares digests, so that the time tells neither the token nor its length (A3).
func (g *guard) hasToken(r *http.Request) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if g.token == "" || !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(g.token))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func (g *guard) askForToken(w http.ResponseWriter) {
	if g.token == "" {
		fail(w, http.StatusForbidden, "other machines reach this listener, so it needs a token: set admin_token_file, or listen on 127.0.0.1")
		return
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="pillion"`)
	fail(w, http.StatusUnauthorized, "send Authorization: Bearer with the token of admin_token_file")
}

func isJSON(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/json"
}
