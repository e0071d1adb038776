package memcached

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// script is a node that greets well, and leaves the rest of each of its connections to play, which is told how many there were before.
type script struct {
	play  func(number int, conn net.Conn)
	dials atomic.Int32
}

func (s *script) serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n') // nothing follows before it is answered
	if err != nil || line != "gets "+markKey+"\r\n" {
		return
	}
	fmt.Fprintf(conn, "VALUE %s 0 16 1\r\nlife%012d\r\nEND\r\n", markKey, 0)
	s.play(int(s.dials.Add(1))-1, conn)
}

// poll makes the first connection, gomemcache's, answer canaries for ever; play sees those after it.
func (s *script) node(t *testing.T) *node {
	play := s.play
	s.play = func(number int, conn net.Conn) {
		if number > 0 {
			play(number-1, conn)
			return
		}
		for lines := bufio.NewReader(conn); ; {
			if _, err := lines.ReadString('\n'); err != nil {
				return
			}
			fmt.Fprintf(conn, "VALUE %s 0 16 1\r\nlife%012d\r\nEND\r\n", markKey, 0)
		}
	}
	return troupe(t, Options{}, &actor{conn: s.serve}).fleet.Load().members[0]
}

// have answers each gets of a key with that key as the value.
func have(conn net.Conn, key string) {
	fmt.Fprintf(conn, "VALUE %s 0 %d 7\r\n%s\r\nEND\r\n", key, len(key), key)
}

func keyOf(line string) string { return strings.TrimSpace(strings.TrimPrefix(line, "gets ")) }

// reads asks for so many keys at once, and returns what became of each.
func reads(n *node, count int) []error {
	results := make([]error, count)
	var all sync.WaitGroup
	for i := range count {
		all.Go(func() {
			key := fmt.Sprintf("key-%d", i)
			it, err := n.get(key)
			if err == nil && string(it.value) != key {
				err = fmt.Errorf("%s is %q", key, it.value)
			}
			results[i] = err
		})
	}
	all.Wait()
	return results
}

// What is asked while the writer is busy goes out in one write, and comes back in any portions.
func TestOperationsOfOneNodeGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var writes int
		s := &script{play: func(_ int, conn net.Conn) {
			<-time.After(time.Millisecond)
			for buffer := make([]byte, 1<<20); ; {
				n, err := conn.Read(buffer)
				if err != nil {
					return
				}
				writes++
				for line := range strings.Lines(string(buffer[:n])) {
					have(conn, keyOf(line))
				}
			}
		}}
		n := s.node(t)
		if err := errors.Join(reads(n, 60)...); err != nil {
			t.Error(err)
		}
		if writes > 2 || s.dials.Load() != 2 {
			t.Errorf("60 reads were %d writes on %d connections", writes, s.dials.Load()-1)
		}
	})
}

// Who asks a silent node waits for his own time, however many others do, and nobody joins them.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{play: func(number int, conn net.Conn) {
			lines := bufio.NewReader(conn)
			if number == 1 {
				line, _ := lines.ReadString('\n')
				have(conn, keyOf(line))
				return
			}
			late := time.After(120 * time.Millisecond)
			_, _ = lines.ReadString('\n')
			_, _ = lines.ReadString('\n')
			<-late // too late for the first, not for the second
			have(conn, "first")
			have(conn, "second")
			_, _ = io.Copy(io.Discard, lines)
		}}
		n := s.node(t)
		begun := time.Now()
		var all sync.WaitGroup
		ask := func(key string, after, ends time.Duration, want result) {
			all.Go(func() {
				<-time.After(after)
				it, err := n.get(key)
				if resultOf(err) != want || want == done && string(it.value) != key || time.Since(begun) != ends {
					t.Errorf("%s after %v: %q, %v", key, time.Since(begun), it.value, err)
				}
			})
		}
		ask("first", 0, 100*time.Millisecond, timeout)
		ask("second", 50*time.Millisecond, 120*time.Millisecond, done)
		ask("third", 110*time.Millisecond, 110*time.Millisecond, done) // on another connection
		all.Wait()
		synctest.Wait()
		if open := len(n.now.Load().lines.open); open > 1 {
			t.Errorf("%d connections are in use", open)
		}
	})
}

// An answer that makes no sense spoils one operation; those behind it are asked again (M5).
func TestStrangeAnswerSpoilsOne(t *testing.T) {
	for name, strange := range map[string]string{
		"garbage": "garbage\r\n", "another key": "VALUE key-99 0 1 7\r\nx\r\nEND\r\n", "half": "VALUE key-1 0 3 7\r\nab",
		"another's answer": "STORED\r\n", "too long": strings.Repeat("x", 2*readAhead),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &script{play: func(number int, conn net.Conn) {
				lines := bufio.NewReader(conn)
				for i := 0; ; i++ {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					if number == 0 && i == 0 {
						<-time.After(time.Millisecond) // the others are there
						ended := make(chan struct{})
						go func() {
							defer close(ended)
							_, _ = io.Copy(io.Discard, lines)
						}()
						fmt.Fprint(conn, strange)
						if name != "half" {
							<-ended
						}
						return
					}
					have(conn, keyOf(line))
				}
			}}
			n := s.node(t)
			failed := 0
			for _, err := range reads(n, 20) {
				if err != nil && resultOf(err) != broken {
					t.Errorf("%s: %v", name, err)
				}
				if err != nil {
					failed++
				}
			}
			// Half an answer is followed by the end of the connection. Where a write notices that first, even this call asks again.
			if failed > 1 || failed == 0 && name != "half" || n.failures.Load() > 1 {
				t.Errorf("%s: %d of 20 reads failed, %d failures count", name, failed, n.failures.Load())
			}
		})
	}
}

// What nobody asked for ends the connection before somebody takes it for his answer.
func TestUnaskedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{play: func(_ int, conn net.Conn) {
			for lines := bufio.NewReader(conn); ; {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				have(conn, keyOf(line))
				fmt.Fprint(conn, "END\r\n")
			}
		}}
		n := s.node(t)
		for range 3 {
			if err := errors.Join(reads(n, 1)...); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if s.dials.Load() != 4 {
			t.Errorf("%d connections for 3 reads", s.dials.Load()-1)
		}
	})
}

// While a large value comes, small ones go by another connection.
func TestLargeValueHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := strings.Repeat("x", 4*largeValue)
		s := &script{play: func(_ int, conn net.Conn) {
			for lines := bufio.NewReader(conn); ; {
				line, err := lines.ReadString('\n')
				switch {
				case err != nil:
					return
				case keyOf(line) != "large":
					have(conn, keyOf(line))
					continue
				}
				fmt.Fprintf(conn, "VALUE large 0 %d 7\r\n", len(large))
				<-time.After(50 * time.Millisecond)
				fmt.Fprintf(conn, "%s\r\nEND\r\n", large)
			}
		}}
		n := s.node(t)
		var all sync.WaitGroup
		all.Go(func() {
			if it, err := n.get("large"); err != nil || string(it.value) != large {
				t.Errorf("%d bytes, %v", len(it.value), err)
			}
		})
		synctest.Wait()
		begun := time.Now()
		if err := errors.Join(reads(n, 5)...); err != nil || time.Since(begun) > 0 {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		all.Wait()
	})
}

func TestLargeValueIsWrittenAlone(t *testing.T) {
	a := startReal(t)
	n := testStore(t, Options{}, a).fleet.Load().members[0]
	value := []byte(strings.Repeat("x", 3*largeValue))
	for i := range 3 {
		read, err := n.get("large")
		if err != nil {
			t.Fatal(err)
		}
		value[0] = byte('a' + i)
		if conflict, err := n.put(read, "large", value, 60); conflict || err != nil {
			t.Fatalf("conflict %v, %v", conflict, err)
		}
		if conflict, err := n.put(read, "large", value, 60); !conflict || err != nil {
			t.Fatalf("again: conflict %v, %v", conflict, err)
		}
	}
	if it, err := n.get("large"); err != nil || string(it.value) != string(value) {
		t.Errorf("%d bytes, %v", len(it.value), err)
	}
}

// However a node fails, no answer reaches another one's operation, nobody waits for ever, and what was acknowledged is there.
func TestNoAnswerReachesAnother(t *testing.T) {
	var commands atomic.Int64
	server := memcachedtest.New(memcachedtest.Options{})
	server.Fault(func(c memcachedtest.Command) memcachedtest.Action {
		if c.Key == markKey {
			return memcachedtest.Action{}
		}
		switch commands.Add(1) % 211 {
		case 20:
			return memcachedtest.Action{Drop: memcachedtest.DropBefore}
		case 60:
			return memcachedtest.Action{Drop: memcachedtest.DropAfter}
		case 100:
			return memcachedtest.Action{Delay: 60 * time.Millisecond}
		case 140:
			return memcachedtest.Action{Reply: "VALUE else 0 4 1\r\nelse\r\nEND\r\n"}
		case 180:
			return memcachedtest.Action{Reply: "SERVER_ERROR out of memory\r\n"}
		}
		return memcachedtest.Action{}
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	s := newStore(t, Options{OpTimeout: 30 * time.Millisecond, Nodes: []ring.Node{{Name: "n1", Address: listener.Addr().String()}}})
	n := s.fleet.Load().members[0]
	var all sync.WaitGroup
	var right atomic.Int64
	for i := range 32 {
		all.Go(func() {
			key, acknowledged := fmt.Sprintf("key-%d", i), 0
			for round := 1; round <= 200; round++ {
				read, err := n.get(key)
				if err != nil {
					continue
				}
				var name string
				held := 0
				if _, err := fmt.Sscanf(string(read.value), "%s %d", &name, &held); read.hit && (err != nil || name != key) || held < acknowledged {
					t.Errorf("%s: %q, acknowledged was %d", key, read.value, acknowledged)
				}
				if conflict, err := n.put(read, key, fmt.Appendf(nil, "%s %d", key, round), 60); err == nil && !conflict {
					acknowledged = round
					right.Add(1)
				}
			}
		})
	}
	all.Wait()
	if right.Load() < 32*200/4 {
		t.Errorf("only %d of %d writes were acknowledged", right.Load(), 32*200)
	}
	if held := len(n.slots); held != 0 {
		t.Errorf("%d slots are taken at the end", held)
	}
}
