package sidecar_test

import (
	"bufio"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// listen opens a WebSocket of v's session; closed is closed when it ends.
func (v *visitor) listen() (closed chan struct{}) {
	v.t.Helper()
	name := v.at.f.app.add(func(w http.ResponseWriter, r *http.Request) {
		if c, err := websocket.Accept(w, r, nil); err == nil {
			_, _, _ = c.Read(context.Background())
		}
	})
	c, _, err := websocket.Dial(context.Background(), "wss://"+site.Host+"/", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: v.at.client}, HTTPHeader: http.Header{scriptField: {name}, "Cookie": {v.at.setup.Cookie.Name + "=" + v.id()}},
	})
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { _ = c.CloseNow() })
	closed = make(chan struct{})
	go func() {
		_, _, _ = c.Read(context.Background())
		close(closed)
	}()
	return closed
}

// subscribe opens a stream of events of v's session; closed is closed when it ends.
func (v *visitor) subscribe() (closed chan struct{}) {
	v.t.Helper()
	req, _ := http.NewRequest("GET", "https://"+site.Host+"/", nil)
	req.Header.Set("Cookie", v.at.setup.Cookie.Name+"="+v.id())
	req.Header.Set(scriptField, v.at.f.app.add(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	resp, err := v.at.client.RoundTrip(req)
	if err != nil {
		v.t.Fatal(err)
	}
	closed = make(chan struct{})
	go func() {
		_, _ = bufio.NewReader(resp.Body).ReadByte()
		_ = resp.Body.Close()
		close(closed)
	}()
	return closed
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// L10: what a session has open ends with it: at once where it is logged out, within session.revocation_check elsewhere, and for every way of
// ending it. Other sessions' stay open, and a renewal keeps its own.
func TestL10EndedSessionsCloseWhatTheyHaveOpen(t *testing.T) {
	ends := map[string]func(t *testing.T, v *visitor, p, other *process){
		"logout here":      func(_ *testing.T, v *visitor, _, _ *process) { v.get(op("destroy")) },
		"logout elsewhere": func(_ *testing.T, v *visitor, _, other *process) { v.through(other).get(op("destroy")) },
		"logout after a renewal": func(_ *testing.T, v *visitor, _, other *process) {
			v.get(op("renew"))
			v.through(other).get(op("destroy"))
		},
		"logout after a renewal elsewhere": func(_ *testing.T, v *visitor, _, other *process) {
			v.through(other).get(op("renew"))
			wait(5 * time.Second)
			v.through(other).get(op("destroy"))
		},
		"logout everywhere": func(t *testing.T, _ *visitor, _, other *process) {
			if _, err := other.DestroySubject(t.Context(), "ada"); err != nil {
				t.Error(err)
			}
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				other := f.sidecar("a2", p.alike)
				v, bystander := p.visitor(), p.visitor()
				v.get(login("ada"))
				bystander.get(login("ben"))
				wait(time.Second)
				open := []chan struct{}{v.listen(), v.subscribe()}
				stays := []chan struct{}{bystander.listen(), bystander.subscribe()}
				wait(time.Minute)
				if isClosed(open[0]) || isClosed(open[1]) {
					t.Fatal("closed while the session lives")
				}
				end(t, v, p, other)
				wait(3 * time.Second)
				if !isClosed(open[0]) || !isClosed(open[1]) {
					t.Error("open after the session's end")
				}
				if isClosed(stays[0]) || isClosed(stays[1]) {
					t.Error("another session's are closed")
				}
			})
		})
	}
}
