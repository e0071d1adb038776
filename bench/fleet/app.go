package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// ledger is what the apps executed, by request id. It outlives each of them.
type ledger struct {
	mu   sync.Mutex
	runs map[string]int
}

func newLedger() *ledger { return &ledger{runs: map[string]int{}} }

func (l *ledger) note(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[id]++
}

// twice counts the requests that were executed more than once.
func (l *ledger) twice() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, runs := range l.runs {
		if runs > 1 {
			n++
		}
	}
	return n
}

// Fields by which a visitor says who asks and how long it shall take.
const (
	fieldID    = "X-Request-Id"
	fieldDelay = "X-Delay"
)

// counter is an app that a visitor raises with POST and reads with GET.
type counter struct{ *ledger }

func (a counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if delay, err := strconv.Atoi(r.Header.Get(fieldDelay)); err == nil {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	var session struct {
		N int `json:"n"`
	}
	_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &session)
	if r.Method == http.MethodPost {
		a.note(r.Header.Get(fieldID))
		session.N++
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{"n":%d}`, session.N))
	}
	fmt.Fprint(w, session.N)
}
