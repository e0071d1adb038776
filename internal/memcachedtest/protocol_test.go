package memcachedtest_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

var (
	k250 = strings.Repeat("k", 250)
	big  = strings.Repeat("x", 1<<20)
)

// exchanges are what is sent, by one connection each to an empty server, and what is answered. `|` is an end of line.
var exchanges = []struct{ send, want string }{
	{"|", "ERROR|"},
	{"x|", "ERROR|"},
	{"nonsense|", "ERROR|"},
	{"GET a|", "ERROR|"},
	{"get|", "ERROR|"},
	{" get  a |", "END|"},
	{"get a b c|gets a b|", "END|END|"},
	{"set a 7 0 2|hi|get a|", "STORED|VALUE a 7 2|hi|END|"},
	{"set a 0 0 0||get a|", "STORED|VALUE a 0 0||END|"},
	{"set a 0 0 2|hi|get a b a|", "STORED|VALUE a 0 2|hi|VALUE a 0 2|hi|END|"},
	{"set a 0 0 1|1|gets a|set a 0 0 1|2|gets a|", "STORED|VALUE a 0 1 1|1|END|STORED|VALUE a 0 1 2|2|END|"},
	{"set a 0 0 2\nhi|get a\nget a|", "STORED|VALUE a 0 2|hi|END|VALUE a 0 2|hi|END|"},
	{"set a\tb 0 0 1|1|get a\tb|", "STORED|VALUE a\tb 0 1|1|END|"},
	{"set a 0 0 1|1|get a\x00b|", "STORED|VALUE a 0 1|1|END|"},
	{"set a 0 0 1 other|1|get a|", "STORED|VALUE a 0 1|1|END|"},

	{"set a 0 0 3|abcde|get a|", "CLIENT_ERROR bad data chunk|ERROR|END|"},
	{"set a 0 0 3 noreply|abcde|get a|", "ERROR|END|"},
	{"set a 0 0|", "ERROR|"},
	{"set a 0 0 1 b c|1|", "ERROR|ERROR|"},
	{"set a 0 0 -1|", "CLIENT_ERROR bad command line format|"},
	{"set a 0 0 2147483646|", "CLIENT_ERROR bad command line format|"},
	{"set a 0 0 x|", "CLIENT_ERROR bad command line format|"},
	{"set a 0 x 1|", "CLIENT_ERROR bad command line format|"},
	{"set a -1 0 1|", "CLIENT_ERROR bad command line format|"},
	{"set a 4294967295 0 1|1|get a|", "STORED|VALUE a 4294967295 1|1|END|"},
	{"set a 4294967296 0 1|1|get a|", "STORED|VALUE a 0 1|1|END|"},
	{"set " + k250 + " 0 0 1|1|", "STORED|"},
	{"set " + k250 + "k 0 0 1|1|", "CLIENT_ERROR bad command line format|ERROR|"},
	{"set a 0 0 1 noreply|1|get a " + k250 + "k|", "CLIENT_ERROR bad command line format|"},
	{"get " + strings.Repeat("a ", 3000) + "|", "END|"},

	{"add a 0 0 1|1|add a 0 0 1|2|get a|", "STORED|NOT_STORED|VALUE a 0 1|1|END|"},
	{"replace a 0 0 1|1|set a 0 0 1|1|replace a 5 0 1|2|get a|", "NOT_STORED|STORED|STORED|VALUE a 5 1|2|END|"},
	{"append a 0 0 1|1|set a 5 0 1|b|append a 9 9 1|c|prepend a 9 9 1|a|get a|", "NOT_STORED|STORED|STORED|STORED|VALUE a 5 3|abc|END|"},
	{"cas a 0 0 1 1|1|set a 0 0 1|1|cas a 0 0 1 9|2|cas a 0 0 1 1|3|cas a 0 0 1 1|4|get a|", "NOT_FOUND|STORED|EXISTS|STORED|EXISTS|VALUE a 0 1|3|END|"},
	{"set a 0 0 1|1|cas a 0 0 1 0|2|cas a 0 0 1 x|", "STORED|EXISTS|CLIENT_ERROR bad command line format|"},
	{"set a 0 0 1|1|cas a 0 -1 1 1|2|get a|", "STORED|STORED|END|"}, // how a lock is freed
	{"set a 0 0 1|1|touch a 100|gat 100 a|cas a 0 0 1 1|2|", "STORED|TOUCHED|VALUE a 0 1|1|END|STORED|"},

	{"incr a 1|set a 0 0 2|10|decr a 1|get a|incr a 991|decr a 5000|get a|", "NOT_FOUND|STORED|9|VALUE a 0 2|9 |END|1000|0|VALUE a 0 4|0   |END|"},
	{"set a 0 0 20|18446744073709551615|incr a 2|", "STORED|1|"},
	{"set a 0 0 5|5 abc|incr a 1|set a 0 0 2|+5|incr a 1|set a 0 0 2|-5|incr a 1|", "STORED|6|STORED|6|STORED|CLIENT_ERROR cannot increment or decrement non-numeric value|"},
	{"set a 0 0 1|5|incr a x|incr a -1|incr a 18446744073709551616|", "STORED|CLIENT_ERROR invalid numeric delta argument|CLIENT_ERROR invalid numeric delta argument|CLIENT_ERROR invalid numeric delta argument|"},
	{"set a 0 0 1|5|incr a 1 noreply|get a|", "STORED|VALUE a 0 1|6|END|"},

	{"delete a|set a 0 0 1|1|delete a 0|set a 0 0 1|1|delete a 0 noreply|get a|", "NOT_FOUND|STORED|DELETED|STORED|END|"},
	{"delete a 1|delete " + k250 + "k|", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]|CLIENT_ERROR bad command line format|"},
	{"touch a 1|touch a x|touch a|", "NOT_FOUND|CLIENT_ERROR invalid exptime argument|ERROR|"},
	{"set a 0 0 1|1|touch a -1|get a|", "STORED|TOUCHED|END|"},
	{"set a 0 0 1|1|gat -1 a|get a|gat x a|gats 5|", "STORED|VALUE a 0 1|1|END|END|CLIENT_ERROR invalid exptime argument|END|"},
	{"set a 3 0 1|1|gats 9 a|", "STORED|VALUE a 3 1 1|1|END|"},
	{"set a 0 -1 1|1|get a|add a 0 0 1|2|", "STORED|END|STORED|"},
	{"set a 0 2592001 1|1|get a|", "STORED|END|"}, // M9: a date of 1970
	{"set a 0 2592000 1|1|get a|", "STORED|VALUE a 0 1|1|END|"},
	{"set a 0 2147483647 1|1|get a|", "STORED|VALUE a 0 1|1|END|"},

	{"set a 0 0 1|1|flush_all|get a|set a 0 0 1|2|get a|", "STORED|OK|END|STORED|VALUE a 0 1|2|END|"},
	{"set a 0 0 1|1|flush_all 100|get a|flush_all noreply|get a|", "STORED|OK|VALUE a 0 1|1|END|END|"},
	{"flush_all x|flush_all 1 2 3|flush_all 0 noreply|", "CLIENT_ERROR invalid exptime argument|ERROR|"},
	{"verbosity|verbosity 1|verbosity x|verbosity 1 noreply|", "ERROR|OK|CLIENT_ERROR bad command line format|"},
	{"version|version x|", "VERSION 1.6.18|VERSION 1.6.18|"},
	{"lru_crawler|lru_crawler metadump|stats nonsense|", "ERROR|ERROR|ERROR|"},

	{"set a 0 0 1|1|set a 0 0 1048576|" + big + "|get a|", "STORED|SERVER_ERROR object too large for cache|END|"},
	{"set a 0 0 1|1|add a 0 0 1048576|" + big + "|get a|", "STORED|SERVER_ERROR object too large for cache|VALUE a 0 1|1|END|"},
	{"set a 0 0 1|1|cas a 0 0 1048576 1|" + big + "|get a|", "STORED|SERVER_ERROR object too large for cache|VALUE a 0 1|1|END|"},
	{"set a 0 0 1|1|set a 0 0 1048576 noreply|" + big + "|get a|", "STORED|END|"},
	{"set a 0 0 1048516|" + big[:1048516] + "|append a 0 0 1|1|set a 0 0 1048517|" + big[:1048517] + "|set a 7 0 1048513|" + big[:1048513] + "|",
		"STORED|NOT_STORED|SERVER_ERROR object too large for cache|SERVER_ERROR object too large for cache|"},

	{"quit|version|", ""},
	{"GET / HTTP/1.1|version|", ""},
	{strings.Repeat("x", 5000), ""},
}

// converse sends everything and quits, and reads up to the end of the connection.
func converse(t *testing.T, conn net.Conn, send string) string {
	t.Helper()
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if strings.HasSuffix(send, "|") {
		send += "quit|"
	}
	go fmt.Fprint(conn, strings.ReplaceAll(send, "|", "\r\n"))
	answer, err := io.ReadAll(conn)
	if err != nil && len(answer) > 0 { // where nothing is answered, the connection may be reset
		t.Errorf("%.60q: %v", send, err)
	}
	return strings.ReplaceAll(string(answer), "\r\n", "|")
}

func TestProtocol(t *testing.T) {
	s := memcachedtest.New(memcachedtest.Options{})
	defer s.Close()
	for _, x := range exchanges {
		s.Restart()
		conn, err := s.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := converse(t, conn, x.send); got != x.want {
			t.Errorf("%.80q\n got %.200q\nwant %.200q", x.send, got, x.want)
		}
	}
}

// The table is right: the real one answers the same.
func TestProtocolOfReal(t *testing.T) {
	r := memtest.StartReal(t)
	for _, x := range exchanges {
		r.Restart()
		conn, err := r.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if got := converse(t, conn, x.send); got != x.want {
			t.Errorf("%.80q\n got %.200q\nwant %.200q", x.send, got, x.want)
		}
	}
}
