// Package api is the loopback API: the app beside the sidecar reads a session that is too large for a request header.
//
//	GET /v1/session          with the request's own Pillion-Handle
//	200 application/json     the session's JSON object, ETag is the v of Pillion-Meta
//	404                      the handle is unknown, has expired, or its session ended: one answer for all (A3)
//
// A handle names one session for the time of one request and is no session id. A request that carries Origin or Sec-Fetch-Site,
// or whose Host does not name this machine, comes from a browser or through a rebound name and is a 403 (A1).
package api

import (
	"net/http"

	"github.com/pillion-proxy/pillion/internal/loopback"
)

// Sessions are the sessions of the requests now being served.
type Sessions interface {
	// ByHandle returns the session's JSON object and its version; ok is false when the handle names no session now.
	ByHandle(handle string) (object []byte, etag string, ok bool)
}

// New returns the handler of the API listener.
func New(sessions Sessions) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/session", func(w http.ResponseWriter, r *http.Request) { read(w, r, sessions) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, origin := r.Header["Origin"]
		_, site := r.Header["Sec-Fetch-Site"]
		switch {
		case origin || site:
			http.Error(w, "This address is for the app beside the sidecar, not for pages in a browser.", http.StatusForbidden)
		case !loopback.Host(r):
			http.Error(w, "Host must name this machine: use the address in PILLION_API.", http.StatusForbidden)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func read(w http.ResponseWriter, r *http.Request, sessions Sessions) {
	handles := r.Header.Values("Pillion-Handle")
	if len(handles) != 1 {
		http.Error(w, "Send exactly one Pillion-Handle: the value that came with the request you are serving.", http.StatusBadRequest)
		return
	}
	object, etag, ok := sessions.ByHandle(handles[0])
	if !ok {
		http.Error(w, "No session under this handle: it is unknown, has expired, or its session ended. A handle lives as long as its "+
			"request; read the session while you serve it, with the Pillion-Handle of that request.", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", `"`+etag+`"`)
	// A failed write means that the app closed its connection; nobody is left to tell.
	_, _ = w.Write(object)
}
