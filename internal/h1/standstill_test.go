package h1

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// direct sends everything to one address.
type direct struct{ to head.To }

func (d direct) Request(*head.Exchange) (head.To, *head.Reply) { return d.to, nil }
func (direct) Response(*head.Exchange, *head.Head) error       { return nil }
func (direct) Trailer(*head.Exchange, *head.Head)              {}
func (direct) End(*head.Exchange, error)                       {}

// After a standstill each client is looked at, whether it is still there: also one whose exchange lasts so long that somebody reads from it all the
// while. The look must not wait for that reading, which waits for the client, which waits for its answer.
func TestStandstillHoldsNobodyUp(t *testing.T) {
	goOn := make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-goOn
		_, _ = io.WriteString(w, "late")
	}))
	defer app.Close()
	e := New(Options{EngineOptions: head.EngineOptions{Handler: direct{head.To{Network: "tcp", Address: app.Listener.Addr().String()}}}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = e.Serve(l) }()
	defer func() { _ = e.Shutdown(t.Context()) }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for begun := false; !begun; <-tick.C {
		e.mu.Lock()
		for _, c := range e.conns {
			e.sweeper.Lock()
			begun = begun || c.watch != nil
			e.sweeper.Unlock()
		}
		e.mu.Unlock()
	}
	e.doubt.Store(now() + int64(time.Hour)) // it has just stood still
	close(goOn)
	_ = client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if answer, err := io.ReadAll(client); err != nil || !strings.HasSuffix(string(answer), "late") {
		t.Errorf("got %q, %v", answer, err)
	}
}
