// Package memtest starts memcached nodes for tests: embedded ones, and the real program with the faults that only a process has.
// Whatever it starts ends with the test.
package memtest

import (
	"net"
	"testing"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// Start runs an embedded memcached on a free port of the loopback address, and returns it with its address.
func Start(tb testing.TB, opts memcachedtest.Options) (*memcachedtest.Server, string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := memcachedtest.New(opts)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	tb.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return s, l.Addr().String()
}
