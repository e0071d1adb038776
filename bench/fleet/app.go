package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
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

// app is a counter that a visitor raises with POST and reads with GET, and that can be replaced as a careful server is: it accepts nothing
// more, answers what comes on the connections that it has, and ends with the last of them.
type app struct {
	address string
	ledger  *ledger
	server  *http.Server
	list    net.Listener
	leaving atomic.Bool
	open    atomic.Int64
}

// Fields by which a visitor says who asks and how long it shall take.
const (
	fieldID    = "X-Request-Id"
	fieldDelay = "X-Delay"
)

func startApp(l *ledger) (*app, error) {
	a := &app{address: "127.0.0.1:0", ledger: l}
	return a, a.start()
}

func (a *app) start() error {
	l, err := net.Listen("tcp", a.address)
	if err != nil {
		return err
	}
	a.list, a.address = l, l.Addr().String()
	a.leaving.Store(false)
	a.server = &http.Server{Handler: a, ReadHeaderTimeout: patience, ConnState: func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			a.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			a.open.Add(-1)
		}
	}}
	go func() { _ = a.server.Serve(l) }()
	return nil
}

// replaceable ends the app; start begins it again at the same address.
func (a *app) end(ctx context.Context) error {
	a.leaving.Store(true)
	_ = a.list.Close()
	err := until(ctx, "the app's connections end", func() error {
		if n := a.open.Load(); n > 0 {
			return fmt.Errorf("%d are open", n)
		}
		return nil
	})
	_ = a.server.Close()
	return err
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if a.leaving.Load() {
		w.Header().Set("Connection", "close")
	}
	if delay, err := strconv.Atoi(r.Header.Get(fieldDelay)); err == nil {
		time.Sleep(time.Duration(delay) * time.Millisecond)
	}
	var session struct {
		N int `json:"n"`
	}
	_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &session)
	if r.Method == http.MethodPost {
		a.ledger.note(r.Header.Get(fieldID))
		session.N++
		w.Header().Set("Pillion-Patch", fmt.Sprintf(`{"n":%d}`, session.N))
	}
	fmt.Fprint(w, session.N)
}
