package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// The name of a process may hold what looks like the fields after it.
func TestParseStat(t *testing.T) {
	parent, used := parseStat("123 (a) R 1 2) S 77 123 123 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 1 0 5 6 7")
	if parent != 77 || used != 1270*time.Millisecond {
		t.Errorf("parent %d, used %v; want 77 and 127 ticks", parent, used)
	}
}

func TestSpread(t *testing.T) {
	for _, row := range []struct {
		figures []float64
		want    spread
	}{
		{[]float64{2}, spread{2, 2, 2}},
		{[]float64{3, 1, 2}, spread{1, 2, 3}},
		{[]float64{4, 1, 3, 2}, spread{1, 2.5, 4}},
	} {
		if got := spreadOf(row.figures); got != row.want {
			t.Errorf("%v: got %v, want %v", row.figures, got, row.want)
		}
	}
}

func TestWindowTakesOffWhatAnIdleSidecarAsks(t *testing.T) {
	busy := window{took: time.Second, gets: 2*operationRequests + 4, writes: 2 * operationRequests}
	gets, writes := busy.over(window{took: 2 * time.Second, gets: 8})
	if gets != 2 || writes != 2 {
		t.Errorf("%v gets and %v writes, want 2 and 2", gets, writes)
	}
}

func TestTableIsMarkdown(t *testing.T) {
	var out bytes.Buffer
	tb := table{about: []string{"a machine"}}
	tb.add("CPU", "1.0 us", "nginx 2.0 us", "0.50", "0.40 to 0.60")
	if err := tb.print(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 5 || strings.Count(lines[4], "|") != columns+1 || len(lines[2]) != len(lines[4]) {
		t.Errorf("got\n%s", out.String())
	}
}

func TestSessionHasItsSize(t *testing.T) {
	for _, size := range []int{1 << 10, 8 << 10} {
		object := sessioncodec.AppendObject(nil, session(size))
		if len(object) < size || len(object) > size+150 || !json.Valid(object) {
			t.Errorf("%d bytes, want %d and valid JSON", len(object), size)
		}
	}
}

// The app answers requests that came in one packet, and counts those with a session.
func TestApp(t *testing.T) {
	a, err := newApp()
	if err != nil {
		t.Fatal(err)
	}
	defer a.listener.Close()
	c, err := net.Dial("tcp", a.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nPillion-Session: {}\r\n\r\nGET /write HTTP/1.1\r\nPillion-Session: {\"n\":1}\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := io.ReadAll(io.LimitReader(c, int64(2*len(readAnswer)+len("Pillion-Patch: {\"n\":2}\r\n"))))
	if err != nil || bytes.Count(resp, []byte("HTTP/1.1 200")) != 2 || !bytes.Contains(resp, []byte("\r\nPillion-Patch: {\"n\":2}\r\n")) {
		t.Errorf("%v, got %q", err, resp)
	}
	if got, want := a.seen(), (seen{2, 1, 7}); got != want {
		t.Errorf("saw %v, want %v", got, want)
	}
}

// The CPU time of a process includes what its child burns, while it runs and afterwards.
func TestCPUOfAProcessTree(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc")
	}
	l := &lab{ctx: t.Context(), dir: t.TempDir()}
	defer l.close()
	p, err := l.start("sh", "-c", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; exec sleep 60")
	if err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		used, err := p.cpu()
		if err != nil {
			t.Fatal(err)
		}
		if used >= 50*time.Millisecond {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("used %v", used)
		}
	}
}

func TestSessionsServed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "# HELP x\npillion_requests_total{kind=\"anonymous\"} 3\npillion_requests_total{kind=\"session\"} 1.2e+06\n")
	}))
	defer server.Close()
	if n, err := sessionsServed(server.Listener.Addr().String()); err != nil || n != 1_200_000 {
		t.Errorf("%d, %v", n, err)
	}
}
