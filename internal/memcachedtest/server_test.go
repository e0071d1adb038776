package memcachedtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

func dial(t testing.TB, s *memcachedtest.Server) net.Conn {
	t.Helper()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// The client that Pillion uses, without a network, in a bubble.
func TestGomemcacheInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Options{})
		defer s.Close()
		client := memcache.New("127.0.0.1:1")
		client.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return s.Dial(ctx) }
		defer client.Close()
		if err := client.Add(&memcache.Item{Key: "a", Value: []byte("1"), Expiration: 5}); err != nil {
			t.Fatal(err)
		}
		it, err := client.Get("a")
		if err != nil {
			t.Fatal(err)
		}
		it.Value = []byte("2")
		if err := client.CompareAndSwap(it); err != nil {
			t.Error(err)
		}
		if err := client.CompareAndSwap(it); !errors.Is(err, memcache.ErrCASConflict) {
			t.Errorf("a used token: %v", err)
		}
		if err := client.Touch("a", 60); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Second)
		if it, err := client.GetAndTouch("a", 1); err != nil || string(it.Value) != "2" {
			t.Errorf("%v, %v", it, err)
		}
		time.Sleep(time.Second)
		if _, err := client.Get("a"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("expired: %v", err)
		}
	})
}

func TestRestartIsAnotherLife(t *testing.T) {
	s, address := memtest.Start(t, memcachedtest.Options{})
	conn := dial(t, s)
	ask(t, conn, "set a 0 0 1|1|", "STORED")
	s.Restart()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection ends with %v", err)
	}
	if keys := s.Keys(); len(keys) != 0 {
		t.Errorf("keys %q", keys)
	}
	again, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got := ask(t, again, "set a 0 0 1|1|gets a|", "END"); got != "STORED|VALUE a 0 1 1|1|END|" {
		t.Errorf("CAS ids go on: %q", got)
	}
}

func TestClose(t *testing.T) {
	s, address := memtest.Start(t, memcachedtest.Options{})
	conn := dial(t, s)
	ask(t, conn, "version|", "VERSION")
	s.Close()
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection ends with %v", err)
	}
	if _, err := s.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Dial: %v", err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it still listens")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Serve left the listener open: %v", err)
	}
	s.Restart()
	ask(t, dial(t, s), "version|", "VERSION")
}

func TestLookingInside(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Options{})
	defer s.Close()
	conn := dial(t, s)
	ask(t, conn, "set b 0 0 3|abc|set a:% 0 0 1|1|get b|get c|", "END")
	if keys := s.Keys(); !slices.Equal(keys, []string{"a:%", "b"}) {
		t.Errorf("keys %q", keys)
	}
	before := s.Stats()
	if !s.Poke("b", func(v []byte) []byte { v[0] ^= 1; return append(v, '!') }) || s.Poke("c", nil) {
		t.Error("Poke does not tell what was there")
	}
	if value, ok := s.Peek("b"); !ok || string(value) != "`bc!" {
		t.Errorf("b is %q, %v", value, ok)
	}
	if got := ask(t, conn, "cas b 0 0 3 1|abc|", "STORED"); got != "STORED|" {
		t.Errorf("Poke changed the CAS id: %q", got)
	}
	if before["cmd_get"] != 2 || before["cmd_set"] != 2 || before["curr_items"] != 2 || before["curr_connections"] != 1 {
		t.Errorf("stats %v", before)
	}
	if after := s.Stats(); after["cmd_get"] != before["cmd_get"] || after["bytes"] != before["bytes"] {
		t.Errorf("looking counts: %v, then %v", before, after)
	}
	dump := ask(t, conn, "lru_crawler metadump all|", "END")
	for _, want := range []string{"key=a%3A%25 exp=-1 la=", "fetch=no", "key=b exp=-1 la=", "size=63\n"} {
		if !strings.Contains(dump, want) {
			t.Errorf("no %q in %q", want, dump)
		}
	}
	s.FlushAll()
	if stats := ask(t, conn, "stats|", "END"); !strings.Contains(stats, "STAT curr_items 0|") || !strings.Contains(stats, "STAT version 1.6.18|") {
		t.Errorf("stats %q", stats)
	}
}

// Memory is bounded; what was used last stays.
func TestEviction(t *testing.T) {
	const limit = 8 << 20
	s := memcachedtest.New(memcachedtest.Options{MaxBytes: limit})
	defer s.Close()
	conn := dial(t, s)
	value := strings.Repeat("v", 10_000)
	for i := range 2000 {
		ask(t, conn, fmt.Sprintf("set k%d 0 0 %d noreply|%s|get k0|", i, len(value), value), "END")
	}
	stats := s.Stats()
	if stats["bytes"] > limit || stats["bytes"] < limit*8/10 || stats["evictions"]+stats["curr_items"] != 2000 {
		t.Errorf("bytes %d of %d, %d evictions, %d items", stats["bytes"], limit, stats["evictions"], stats["curr_items"])
	}
	for key, want := range map[string]bool{"k0": true, "k1": false, "k1000": false, "k1999": true} {
		if _, ok := s.Peek(key); ok != want {
			t.Errorf("%s is there: %v", key, ok)
		}
	}
	small := memcachedtest.New(memcachedtest.Options{MaxBytes: 1000})
	defer small.Close()
	if got := ask(t, dial(t, small), "set a 0 0 2000|"+value[:2000]+"|", "SERVER_ERROR"); !strings.Contains(got, "out of memory") {
		t.Errorf("more than all memory: %q", got)
	}
}

// Many connections at once on the same keys; for the race detector, and cas lets exactly one win.
func TestConcurrentCAS(t *testing.T) {
	s, address := memtest.Start(t, memcachedtest.Options{})
	client := memcache.New(address)
	client.MaxIdleConns = 8
	client.Timeout = 10 * time.Second
	defer client.Close()
	if err := client.Set(&memcache.Item{Key: "n", Value: []byte("0")}); err != nil {
		t.Fatal(err)
	}
	const each = 100
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for done := 0; done < each; {
				it, err := client.Get("n")
				if err != nil {
					t.Error(err)
					return
				}
				var n int
				_, _ = fmt.Sscan(string(it.Value), &n)
				it.Value = fmt.Append(nil, n+1)
				if err := client.CompareAndSwap(it); err == nil {
					done++
				} else if !errors.Is(err, memcache.ErrCASConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	if value, _ := s.Peek("n"); string(value) != fmt.Sprint(8*each) {
		t.Errorf("%s increments of %d", value, 8*each)
	}
}
