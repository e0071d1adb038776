package acceptqueue_test

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/pillion-proxy/pillion/internal/acceptqueue"
)

// Clients hammer a port that closes: each connection that was made is answered, and nobody is reset.
func TestCloseCutsNobodyOff(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux gives the queue away")
	}
	for _, address := range []string{"127.0.0.1:0", "127.0.0.1:0", "[::1]:0", ":0"} {
		closeUnderFire(t, address)
	}
}

func closeUnderFire(t *testing.T, address string) {
	t.Helper()
	l, err := acceptqueue.Listen(address)
	if err != nil {
		if address == "[::1]:0" {
			t.Log(err) // a machine without IPv6
			return
		}
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	target := map[string]string{"127.0.0.1:0": "127.0.0.1:", "[::1]:0": "[::1]:", ":0": "127.0.0.1:"}[address] + port
	var made atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ask(t, target) {
				made.Add(1)
			}
		})
	}
	answer := func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1))
		_, _ = c.Write([]byte("!"))
		_ = c.Close()
	}
	for made.Load() < 200 && !t.Failed() {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		answer(c)
	}
	waiting, err := acceptqueue.Close(l)
	if err != nil {
		t.Error(err)
	}
	for _, c := range waiting {
		answer(c)
	}
	clients.Wait()
}

// ask makes one connection and wants an answer on it; false: it was refused.
func ask(t *testing.T, target string) bool {
	c, err := net.Dial("tcp", target)
	if err != nil {
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial: %v", err)
		}
		return false
	}
	defer c.Close()
	if _, err := c.Write([]byte("?")); err == nil {
		_, err = c.Read(make([]byte, 1))
		if err != nil {
			t.Errorf("a connection was made and cut off: %v", err)
			return false
		}
	}
	return true
}
