package enginetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// comings are the ways in which a client comes and goes. Each gets its connection, and what it must get.
var comings = []func(net.Conn) error{
	func(net.Conn) error { return nil },
	func(c net.Conn) error { return exchanges(c, 1) },
	func(c net.Conn) error { return exchanges(c, 5) },
	func(c net.Conn) error { // leaves in a head
		_, err := io.WriteString(c, "GET / HTTP/1.1\r\nHos")
		return err
	},
	func(c net.Conn) error { // leaves in a body
		_, err := io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
		return err
	},
	func(c net.Conn) error { // leaves before its answer
		_, err := io.WriteString(c, simple)
		return err
	},
	func(c net.Conn) error { // leaves with a reset
		_ = c.(*net.TCPConn).SetLinger(0)
		_, err := io.WriteString(c, simple+simple)
		return err
	},
	func(c net.Conn) error { // is refused
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nX A: 1\r\n\r\n"); err != nil {
			return err
		}
		_, err := io.ReadAll(c)
		return err
	},
}

// exchanges asks n times and reads the answers.
func exchanges(c net.Conn, n int) error {
	for in := bufio.NewReader(c); n > 0; n-- {
		if _, err := io.WriteString(c, simple); err != nil {
			return err
		}
		if m, err := readMessage(in, answer); err != nil || m.broken != nil || m.body != "ok" {
			return errors.Join(fmt.Errorf("got %q", m), err)
		}
	}
	return nil
}

// Churn opens and closes n connections, in every way a client may, and fails when a goroutine or a file is left behind.
func Churn(t testing.TB, build Build, n int) {
	w := &witness{}
	r := startRaw(t, build, nil, head.EngineOptions{}, w.serve)
	churn(t, r, 4*len(comings))                  // what is made once
	pool := time.NewTimer(2 * head.UpstreamIdle) // connections to the app are given back
	defer pool.Stop()
	<-pool.C
	goroutines, files := held()
	churn(t, r, n)
	if !within(patience, func() bool { g, f := held(); return g <= goroutines && f <= files }) {
		g, f := held()
		t.Errorf("there are %d goroutines and %d files, there were %d and %d", g, f, goroutines, files)
	}
}

// churn lets n clients come and go, 16 at a time. One address has too few ports for many: there are eight.
func churn(t testing.TB, r *rig, n int) {
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				source := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}
				c, err := (&net.Dialer{LocalAddr: source}).Dial("tcp", r.addr)
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(patience))
				if err := comings[i%len(comings)](c); err != nil {
					t.Errorf("client %d: %v", i, err)
				}
				_ = c.Close()
			}
		})
	}
	clients.Wait()
	eventually(t, "every exchange ends", func() bool { return r.begun.Load() == r.ended.Load() })
}

// held counts goroutines and files; off Linux the second is 0.
func held() (goroutines, files int) {
	entries, _ := os.ReadDir("/proc/self/fd")
	return runtime.NumGoroutine(), len(entries)
}
