package config_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// serveApp is the app beside each sidecar. It counts visits and makes sessions large; two paths show what only an app can see.
func serveApp(address string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/counter", func(w http.ResponseWriter, r *http.Request) {
		var session struct{ Count int }
		_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &session)
		delay, _ := time.ParseDuration(r.FormValue("delay"))
		<-time.After(delay)
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{"count":%d}`, session.Count+1))
		fmt.Fprint(w, session.Count+1)
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Pillion-Session")) })
	mux.HandleFunc("/size", func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.ParseUint(r.FormValue("bytes"), 10, 16)
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{"blob":%q}`, strings.Repeat("colour=blue;", int(size)/12)))
	})
	var m meeting
	mux.HandleFunc("/meet", m.serve)
	mux.HandleFunc("/meet/writing", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Pillion-Patch", `{"met":true}`)
		m.serve(w, r)
	})
	mux.HandleFunc("/", misbehave)
	return http.ListenAndServe(address, mux)
}

// misbehave answers what an app must not answer on an ignored path, and tells which fields of Pillion's came with the request.
func misbehave(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", cookieName+"=forged; Path=/; Secure")
	w.Header().Add("Set-Cookie", "theme=dark")
	w.Header().Set("Pillion-Patch", `{"count":1000}`)
	w.Header().Set("Pillion-Op", "destroy")
	for name, values := range r.Header {
		if strings.HasPrefix(name, "Pillion-") || strings.Contains(strings.Join(values, " "), cookieName) {
			fmt.Fprintln(w, name, values)
		}
	}
}

// meeting answers requests with of=N when there are N of them at once: so they prove that none waited for another.
type meeting struct {
	mu      sync.Mutex
	present int
	full    chan struct{}
}

func (m *meeting) serve(w http.ResponseWriter, r *http.Request) {
	of, _ := strconv.Atoi(r.FormValue("of"))
	m.mu.Lock()
	if m.present == 0 {
		m.full = make(chan struct{})
	}
	m.present++
	full := m.full
	if m.present == of {
		close(full)
		m.present = 0
	}
	m.mu.Unlock()
	select {
	case <-full:
		fmt.Fprint(w, "met")
	case <-time.After(deadline):
		http.Error(w, "alone", http.StatusConflict)
	}
}
