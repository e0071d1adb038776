// Package admin is the listener for operators: probes, status, metrics, profiles, and a look at single sessions.
//
//	GET  /health             200 while the process runs
//	GET  /ready              200 or 503; with trouble that other sidecars share, 200 and "degraded"
//	GET  /status             what this process is, and the state of its ring
//	GET  /metrics            Prometheus text
//	GET  /debug/pprof/       profiles
//	GET  /drain              whether the process leaves its fleet, and what its end would still cut short
//	POST /drain              {}: leave the fleet, still serving
//	POST /undrain            {}: rejoin it
//	POST /session/show       {"ref": ".."} or {"id": ".."}: where its copies lie
//	POST /session/destroy    the same: ends it
//	POST /session/destroy-subject  {"subject": ".."}: ends every session of a subject
//
// Who may ask is decided in guard.go. An id is taken in a body only, never in a path or query, and never given back (C11).
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Readiness decides whether fronts should send visitors here.
type Readiness interface {
	// Ready returns why not (nothing: ready), and what works worse than it should. Trouble of the ring after the first contact is
	// only degraded: every sidecar sees it, and the whole fleet would leave at once.
	Ready() (blocked, degraded []string)
}

// Status tells what the process is doing.
type Status interface {
	// Status is what /status shows, as JSON: a Report, or what another kind of process knows of itself.
	Status() any
}

// Sessions acts on one session, named by ref or by id, the other being "". What they return goes to the operator as it is, so
// neither a result nor an error may hold an id.
type Sessions interface {
	// Show describes the copies of a session; ErrNoSession when no node holds one.
	Show(ctx context.Context, ref, id string) (any, error)
	// Destroy ends a session and tells where that was acknowledged.
	Destroy(ctx context.Context, ref, id string) (any, error)
	// DestroySubject ends every session of a subject and tells how many were listed.
	DestroySubject(ctx context.Context, subject string) (any, error)
}

// Errors of Sessions that are the caller's.
var (
	// ErrNoSession: every node answered and none holds the session.
	ErrNoSession = errors.New("admin: no node holds this session")
	// ErrBadName: the text is no ref, or no id of this space.
	ErrBadName = errors.New("admin: this is no ref, which has 32 characters, and no session id")
)

// Report is the body of /status.
type Report struct {
	Version    string    `json:"version"`
	App        string    `json:"app"`
	Space      string    `json:"space"`
	Route      string    `json:"route"`
	Mode       string    `json:"mode"` // sticky or shared
	Started    time.Time `json:"started"`
	Uptime     string    `json:"uptime"`
	Ring       []Node    `json:"ring"`
	Sessions   int       `json:"sessions_in_memory"`
	ConfigHash string    `json:"config_hash"`
	Keys       []Key     `json:"keys"` // the first seals
}

// Node is one memcached in a Report.
type Node struct {
	Name      string    `json:"name"`
	Address   string    `json:"address"`
	State     string    `json:"state"`
	Local     bool      `json:"local,omitempty"`
	Born      time.Time `json:"born,omitzero"` // when its memory was last found empty
	LastError string    `json:"last_error,omitempty"`
}

// Key names a key in a Report; its secret stays in its file.
type Key struct {
	ID  uint32 `json:"id"`
	Use string `json:"use"`
}

// Options are what New needs.
type Options struct {
	Listener  net.Addr // where the handler is served; nil counts as reachable from other machines
	Hosts     []string // names besides its own that the Host field may carry
	Token     string   // bearer token, "" for none
	Readiness Readiness
	Status    Status   // nil: no /status
	Sessions  Sessions // nil: no /session/
	Leaver    Leaver   // nil: no /drain, no /undrain
	Metrics   prometheus.Gatherer
	Pages     map[string]func() any // further pages for GET, by path
}

// New returns the handler of the admin listener.
func New(opts Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) { ready(w, opts.Readiness) })
	if opts.Status != nil {
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, opts.Status.Status()) })
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(opts.Metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if opts.Sessions != nil {
		mux.HandleFunc("POST /session/show", func(w http.ResponseWriter, r *http.Request) { session(w, r, opts.Sessions.Show) })
		mux.HandleFunc("POST /session/destroy", func(w http.ResponseWriter, r *http.Request) { session(w, r, opts.Sessions.Destroy) })
		mux.HandleFunc("POST /session/destroy-subject", func(w http.ResponseWriter, r *http.Request) { subject(w, r, opts.Sessions) })
	}
	if opts.Leaver != nil {
		handleLeaver(mux, opts.Leaver)
	}
	for path, page := range opts.Pages {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, page()) })
	}
	return newGuard(opts, mux)
}

func ready(w http.ResponseWriter, readiness Readiness) {
	blocked, degraded := readiness.Ready()
	status := http.StatusOK
	if len(blocked) > 0 {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, struct {
		Ready    bool     `json:"ready"`
		Blocked  []string `json:"blocked,omitempty"`
		Degraded []string `json:"degraded,omitempty"`
	}{len(blocked) == 0, blocked, degraded})
}

// session reads which session is meant and hands it to act. What came in the body is not repeated in any answer.
func session(w http.ResponseWriter, r *http.Request, act func(ctx context.Context, ref, id string) (any, error)) {
	var name struct{ Ref, ID string }
	if !body(w, r, &name) || (name.Ref == "") == (name.ID == "") {
		fail(w, http.StatusBadRequest, `the body must be {"ref": "..."} or {"id": "..."}`)
		return
	}
	result, err := act(r.Context(), name.Ref, name.ID)
	outcome(w, result, err)
}

// subject reads whose sessions are meant.
func subject(w http.ResponseWriter, r *http.Request, sessions Sessions) {
	var name struct{ Subject string }
	if !body(w, r, &name) || name.Subject == "" {
		fail(w, http.StatusBadRequest, `the body must be {"subject": "..."}`)
		return
	}
	result, err := sessions.DestroySubject(r.Context(), name.Subject)
	outcome(w, result, err)
}

func body(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10))
	decoder.DisallowUnknownFields()
	if decoder.Decode(into) != nil {
		return false
	}
	_, err := decoder.Token()
	return errors.Is(err, io.EOF)
}

func outcome(w http.ResponseWriter, result any, err error) {
	switch {
	case errors.Is(err, ErrNoSession):
		fail(w, http.StatusNotFound, plain(err))
	case errors.Is(err, ErrBadName):
		fail(w, http.StatusBadRequest, plain(err))
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err.Error())
	default:
		answer(w, http.StatusOK, result)
	}
}

// plain is an error of Sessions as an operator reads it.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "admin: ") }

// fail answers with the one shape that every refusal of this listener has.
func fail(w http.ResponseWriter, status int, text string) {
	answer(w, status, map[string]string{"error": text})
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"error": "the answer could not be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A failed write means that the operator left.
	_, _ = w.Write(append(text, '\n'))
}
