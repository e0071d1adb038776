package memcachedtest_test

import (
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// only makes a hook that acts on the sets of key a.
func only(a memcachedtest.Action) func(memcachedtest.Command) memcachedtest.Action {
	return func(c memcachedtest.Command) memcachedtest.Action {
		if c == (memcachedtest.Command{Name: "set", Key: "a"}) {
			return a
		}
		return memcachedtest.Action{}
	}
}

func TestDrop(t *testing.T) {
	for _, c := range []struct {
		drop memcachedtest.Drop
		done bool
	}{{memcachedtest.DropBefore, false}, {memcachedtest.DropAfter, true}} {
		s := memcachedtest.New(memcachedtest.Options{})
		defer s.Close()
		s.Fault(only(memcachedtest.Action{Drop: c.drop}))
		conn := dial(t, s)
		go fmt.Fprint(conn, "set b 0 0 1\r\n1\r\nset a 0 0 1\r\n1\r\n")
		if got, err := io.ReadAll(conn); err != nil || string(got) != "STORED\r\n" {
			t.Errorf("%v: %q, %v: what was answered before the drop arrives", c, got, err)
		}
		if _, done := s.Peek("a"); done != c.done {
			t.Errorf("%v: executed: %v", c, done)
		}
	}
}

func TestReply(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Options{})
	defer s.Close()
	s.Fault(only(memcachedtest.Action{Reply: "GARBAGE\r\n"}))
	conn := dial(t, s)
	if got := ask(t, conn, "set b 0 0 1|1|set a 0 0 1|1|get a|", "END"); got != "STORED|GARBAGE|VALUE a 0 1|1|END|" {
		t.Errorf("answer %q", got)
	}
	s.Fault(nil)
	if got := ask(t, conn, "set a 0 0 1|1|", "STORED"); got != "STORED|" {
		t.Errorf("without faults: %q", got)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Options{})
		defer s.Close()
		s.Fault(only(memcachedtest.Action{Delay: time.Minute}))
		conn := dial(t, s)
		start := time.Now()
		go fmt.Fprint(conn, "set b 0 0 1\r\n1\r\nset a 0 0 1\r\n1\r\n")
		first := make([]byte, 8)
		if _, err := io.ReadFull(conn, first); err != nil || time.Since(start) != 0 {
			t.Errorf("the answer before waited too: %v, %v", time.Since(start), err)
		}
		if _, err := io.ReadFull(conn, first); err != nil || time.Since(start) != time.Minute {
			t.Errorf("delayed by %v, %v", time.Since(start), err)
		}
	})
}

// A stopped process does what it was sent when it goes on, although the client has left; a killed one does not.
func TestFreeze(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := memcachedtest.New(memcachedtest.Options{})
			defer s.Close()
			thaw := make(chan struct{})
			s.Fault(only(memcachedtest.Action{Until: thaw}))
			conn := dial(t, s)
			fmt.Fprint(conn, "set a 0 0 1\r\n1\r\n")
			conn.Close()
			synctest.Wait()
			if _, done := s.Peek("a"); done {
				t.Error("executed while frozen")
			}
			if killed {
				s.Restart()
			}
			close(thaw)
			synctest.Wait()
			if _, done := s.Peek("a"); done == killed {
				t.Errorf("killed: %v, executed: %v", killed, done)
			}
		})
	}
}

// A hook may use the server: here memcached dies in the middle of the third set.
func TestFaultThatRestarts(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Options{})
	defer s.Close()
	sets := 0
	s.Fault(func(c memcachedtest.Command) memcachedtest.Action {
		if sets++; sets == 3 {
			s.Restart()
		}
		return memcachedtest.Action{}
	})
	conn := dial(t, s)
	go fmt.Fprint(conn, "set a 0 0 1\r\n1\r\nset b 0 0 1\r\n1\r\nset c 0 0 1\r\n1\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Error(err)
	}
	if keys := s.Keys(); len(keys) != 0 {
		t.Errorf("the new life holds %q", keys)
	}
}
