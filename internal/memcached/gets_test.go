package memcached

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// librarian is a node that has, for each key that begins with "have", the key as its value, and takes its time for an answer.
type librarian struct {
	takes   time.Duration
	answers atomic.Int32 // how many before it falls silent; negative: all
	strange bool         // it answers several keys with one that nobody asked for
	lines   atomic.Int32
}

func (l *librarian) serve(conn net.Conn) {
	defer conn.Close()
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		keys := strings.Fields(line)[1:]
		if keys[0] == markKey {
			fmt.Fprintf(conn, "VALUE %s 0 16 1\r\nlife%012d\r\nEND\r\n", markKey, 0)
			continue
		}
		l.lines.Add(1)
		if l.answers.Load() == 0 {
			continue
		}
		l.answers.Add(-1)
		<-time.After(l.takes)
		if l.strange && len(keys) > 1 {
			keys = append(keys, "have-not-asked")
		}
		for _, key := range keys {
			if strings.HasPrefix(key, "have") {
				fmt.Fprintf(conn, "VALUE %s 0 %d 7\r\n%s\r\n", key, len(key), key)
			}
		}
		fmt.Fprint(conn, "END\r\n")
	}
}

// readers asks l for so many keys at once, one in three of which it lacks, and returns the errors and how long the longest took.
func readers(t *testing.T, l *librarian, count int) (failed []error, longest time.Duration) {
	t.Helper()
	a := &actor{conn: l.serve}
	n := troupe(t, Options{}, a).fleet.Load().members[0]
	type outcome struct {
		key  string
		item item
		err  error
		took time.Duration
	}
	outcomes := make(chan outcome)
	for i := range count {
		key := fmt.Sprintf("have-%d", i)
		if i%3 == 0 {
			key = fmt.Sprintf("lack-%d", i)
		}
		go func() {
			start := time.Now()
			it, err := n.get(key)
			outcomes <- outcome{key, it, err, time.Since(start)}
		}()
	}
	for range count {
		o := <-outcomes
		longest = max(longest, o.took)
		switch has := strings.HasPrefix(o.key, "have"); {
		case o.err != nil:
			failed = append(failed, o.err)
		case o.item.hit != has, has && (string(o.item.value) != o.key || o.item.cas != 7), o.item.life != n.now.Load():
			t.Errorf("for %s the node has %+v", o.key, o.item)
		}
	}
	return failed, longest
}

func TestReadsOfOneNodeGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &librarian{takes: time.Millisecond}
		l.answers.Store(-1)
		failed, longest := readers(t, l, 60)
		if len(failed) > 0 || longest > 2*time.Millisecond {
			t.Errorf("60 reads: %v failed, the longest took %v", failed, longest)
		}
		if got := l.lines.Load(); got != 4 { // two at once, then 32 and the 26 that are left
			t.Errorf("60 reads were %d commands, want 4", got)
		}
	})
}

// Who waits for a node that is silent waits no longer than who asked it.
func TestReadsDoNotWaitForASilentNode(t *testing.T) {
	for _, answers := range []int32{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			l := &librarian{takes: time.Millisecond}
			l.answers.Store(answers)
			failed, longest := readers(t, l, 40)
			if len(failed) != 40-int(answers) || longest > 101*time.Millisecond {
				t.Errorf("%d answers: %d of 40 reads failed, the longest took %v", answers, len(failed), longest)
			}
			for _, err := range failed {
				if resultOf(err) != timeout {
					t.Errorf("a read failed with %v", err)
				}
			}
		})
	}
}

// A node that takes long holds up nobody who comes later: these ask for themselves.
func TestReadsThatComeLateGoAlone(t *testing.T) {
	var g gets
	now := time.Now()
	for i := range g.begun {
		g.begun[i] = now.Add(-time.Second)
	}
	if lane, q := g.enter("key", time.Millisecond); lane >= 0 || q != nil {
		t.Errorf("a read got lane %d, a place to wait: %v", lane, q != nil)
	}
}

func TestReadsThatWaitAreBounded(t *testing.T) {
	var g gets
	for range reading + 2*waitMost {
		g.enter("key", time.Minute)
	}
	if len(g.waiting) != waitMost {
		t.Errorf("%d reads wait, want %d", len(g.waiting), waitMost)
	}
}

// One answer that makes no sense spoils one command, not the reads that went with it (M5).
func TestStrangeAnswerToManyIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &librarian{takes: time.Millisecond, strange: true}
		l.answers.Store(-1)
		if failed, _ := readers(t, l, 30); len(failed) > 0 {
			t.Errorf("reads failed: %v", errors.Join(failed...))
		}
	})
}
