package admin

import "net/http"

// Leaver takes the process out of its fleet and back into it.
type Leaver interface {
	// Drain begins to leave; again changes nothing.
	Drain()
	// Undrain rejoins; an error says why that is not possible any more.
	Undrain() error
	// Leaving tells whether it leaves, and what its end would still cut short: nothing, and it may end.
	Leaving() (leaving bool, waiting []string)
}

// Departure is the body of /drain.
type Departure struct {
	Draining bool     `json:"draining"`
	Waiting  []string `json:"waiting"`
}

func handleLeaver(mux *http.ServeMux, l Leaver) {
	tell := func(w http.ResponseWriter) {
		leaving, waiting := l.Leaving()
		if waiting == nil {
			waiting = []string{}
		}
		answer(w, http.StatusOK, Departure{leaving, waiting})
	}
	mux.HandleFunc("GET /drain", func(w http.ResponseWriter, _ *http.Request) { tell(w) })
	mux.HandleFunc("POST /drain", func(w http.ResponseWriter, r *http.Request) {
		if !body(w, r, &struct{}{}) {
			fail(w, http.StatusBadRequest, "the body must be {}")
			return
		}
		l.Drain()
		tell(w)
	})
	mux.HandleFunc("POST /undrain", func(w http.ResponseWriter, r *http.Request) {
		if !body(w, r, &struct{}{}) {
			fail(w, http.StatusBadRequest, "the body must be {}")
			return
		}
		if err := l.Undrain(); err != nil {
			fail(w, http.StatusConflict, err.Error())
			return
		}
		tell(w)
	})
}
