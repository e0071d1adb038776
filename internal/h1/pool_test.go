package h1

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// resident is an app that tells when each of its connections has begun, and when the engine has ended it.
type resident struct {
	net.Listener
	leaves bool // it ends its direction after one answer
	begun  chan struct{}
	ended  chan error
	gather chan struct{} // holds answers back while it is open
}

func startResident(t *testing.T, leaves bool) *resident {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &resident{l, leaves, make(chan struct{}, 8), make(chan error, 8), make(chan struct{})}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(nc.(*net.TCPConn))
		}
	}()
	return r
}

func (r *resident) serve(nc *net.TCPConn) {
	defer func() { _ = nc.Close() }()
	r.begun <- struct{}{}
	for in := bufio.NewReader(nc); ; {
		req, err := http.ReadRequest(in)
		if err != nil {
			r.ended <- err
			return
		}
		_, _ = io.Copy(io.Discard, req.Body)
		<-r.gather
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if r.leaves {
			_ = nc.CloseWrite()
		}
	}
}

// A connection that nobody uses is closed soon, whether the app has ended its side or waits for ours to end: also while others to the same
// app are used all the time. An app that is being replaced waits for that.
func TestIdleConnectionIsClosed(t *testing.T) {
	for name, c := range map[string]struct{ leaves, busy bool }{"app left": {true, false}, "app waits": {false, false}, "others are used": {false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := startResident(t, c.leaves)
			e := New(Options{EngineOptions: head.EngineOptions{Handler: direct{head.To{Network: "tcp", Address: app.Addr().String()}}}})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() { _ = e.Serve(l) }()
			defer func() { _ = e.Shutdown(t.Context()) }()
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
			get := func() error {
				res, err := client.Get("http://" + l.Addr().String())
				if err == nil {
					err = res.Body.Close()
				}
				return err
			}
			both := make(chan error, 2)
			for range 2 {
				go func() { both <- get() }()
			}
			<-app.begun
			<-app.begun
			close(app.gather)
			if err := errors.Join(<-both, <-both); err != nil {
				t.Fatal(err)
			}
			for late := time.After(10 * time.Second); ; {
				next := make(chan struct{})
				if c.busy {
					close(next)
				}
				select {
				case err := <-app.ended:
					if !errors.Is(err, io.EOF) {
						t.Error(err)
					}
					return
				case <-late:
					t.Fatal("it is still open")
				case <-next:
					if err := get(); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
