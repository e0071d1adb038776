package memcachedtest_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

// ask sends lines and returns the answer up to the line that begins with end.
func ask(t testing.TB, conn net.Conn, send, end string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	go fmt.Fprint(conn, strings.ReplaceAll(send, "|", "\r\n"))
	var answer strings.Builder
	for lines := bufio.NewReader(conn); ; {
		line, err := lines.ReadString('\n')
		answer.WriteString(strings.ReplaceAll(line, "\r\n", "|"))
		if err != nil {
			t.Fatalf("%.60q: %q, then %v", send, answer.String(), err)
		}
		if strings.HasPrefix(line, end) {
			return answer.String()
		}
	}
}

// timed are items that expire after a number of seconds, each by another way to say it.
func timed(now time.Time) (send string, after map[string]int) {
	after = map[string]int{}
	for s := 1; s <= 3; s++ {
		date := now.Unix() + int64(s)
		for way, text := range map[string]string{
			"set":    "set %[1]s 0 %[2]d 1 noreply|1|",
			"date":   "set %[1]s 0 %[3]d 1 noreply|1|",
			"touch":  "set %[1]s 0 100 1 noreply|1|touch %[1]s %[2]d noreply|",
			"gat":    "set %[1]s 0 0 1 noreply|1|gat %[2]d %[1]s|",
			"append": "set %[1]s 0 %[2]d 1 noreply|1|append %[1]s 0 100 1 noreply|1|",
			"incr":   "set %[1]s 0 %[2]d 1 noreply|1|incr %[1]s 1 noreply|",
		} {
			key := fmt.Sprintf("%s%d", way, s)
			send += fmt.Sprintf(text, key, s, date)
			after[key] = s
		}
	}
	return send, after
}

// Items live as long as in the real one. Its second begins at another moment, so that a lifetime may differ by one.
func TestTTLSameAsReal(t *testing.T) {
	t.Parallel()
	_, address := memtest.Start(t, memcachedtest.Options{})
	real := memtest.StartReal(t)
	embedded, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer embedded.Close()
	genuine, err := real.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer genuine.Close()
	start := time.Now()
	send, after := timed(start)
	keys := "get"
	for key := range after {
		keys += " " + key
	}
	var gone [2]map[string]time.Duration
	for i, conn := range []net.Conn{embedded, genuine} {
		gone[i] = map[string]time.Duration{}
		ask(t, conn, send+"version|", "VERSION")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for time.Since(start) < 6*time.Second && len(gone[0])+len(gone[1]) < 2*len(after) {
		<-tick.C
		for i, conn := range []net.Conn{embedded, genuine} {
			alive := ask(t, conn, keys+"|", "END")
			for key := range after {
				if _, known := gone[i][key]; !known && !strings.Contains(alive, "VALUE "+key+" ") {
					gone[i][key] = time.Since(start)
				}
			}
		}
	}
	for key, seconds := range after {
		mine, ok := gone[0][key]
		its, okReal := gone[1][key]
		if !ok || !okReal || (mine-its).Abs() > 1200*time.Millisecond || (mine-time.Duration(seconds)*time.Second).Abs() > 1200*time.Millisecond {
			t.Errorf("%s lived %v, in the real one %v", key, mine, its)
		}
	}
}

// The rules themselves, by a fake clock.
func TestTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Options{})
		defer s.Close()
		conn, err := s.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		send, after := timed(time.Now())
		ask(t, conn, send+fmt.Sprintf("set never 0 0 1|1|set month 0 2592000 1|1|set longer 0 %d 1|1|version|", time.Now().Unix()+2592001), "VERSION")
		after["month"], after["longer"] = 2592000, 2592001
		check := func(now int) {
			t.Helper()
			for key, seconds := range after {
				if _, alive := s.Peek(key); alive != (now < seconds) {
					t.Errorf("after %d s: %s is there: %v", now, key, alive)
				}
			}
			if _, alive := s.Peek("never"); !alive {
				t.Errorf("after %d s: never is gone", now)
			}
		}
		for now := range 4 {
			check(now)
			time.Sleep(time.Second)
		}
		time.Sleep(2592000*time.Second - 4*time.Second)
		check(2592000)
		time.Sleep(time.Second)
		check(2592001)
	})
}

// A delayed flush_all takes what was stored up to the second before.
func TestDelayedFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memcachedtest.New(memcachedtest.Options{})
		defer s.Close()
		conn, err := s.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ask(t, conn, "set a 0 0 1|1|flush_all 5|", "OK")
		time.Sleep(3 * time.Second)
		if _, ok := s.Peek("a"); !ok {
			t.Error("flushed too early")
		}
		time.Sleep(2 * time.Second)
		ask(t, conn, "set b 0 0 1|1|", "STORED")
		if keys := s.Keys(); len(keys) != 1 || keys[0] != "b" {
			t.Errorf("keys %q, want b", keys)
		}
	})
}
