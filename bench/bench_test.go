package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
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
	busy := window{time.Second, operations{2*operationRequests + 4, 2 * operationRequests}}
	gets, writes := busy.over(window{2 * time.Second, operations{gets: 8}})
	if gets != 2 || writes != 2 {
		t.Errorf("%v gets and %v writes, want 2 and 2", gets, writes)
	}
}

func TestTableIsMarkdown(t *testing.T) {
	var out bytes.Buffer
	tb := table{title: "CPU", columns: []string{"candidate", "us"}}
	tb.add("nginx", "17.2")
	if err := tb.print(&out); err != nil {
		t.Fatal(err)
	}
	want := "\n### CPU\n\n| candidate | us   |\n| --------- | ---- |\n| nginx     | 17.2 |\n"
	if out.String() != want {
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
	a, err := newLoopbackApp()
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
	if got, want := a.counted(), (seen{2, 1, 7}); got != want {
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

func TestParseCounters(t *testing.T) {
	c, err := parseCounters(strings.NewReader("# HELP x\npillion_requests_total{kind=\"anonymous\"} 3\npillion_requests_total{kind=\"session\"} 1.2e+06\n"))
	if err != nil || c[sessionRequests] != 1_200_000 || c.of("pillion_requests_total") != 1_200_003 || c.of("pillion_requests") != 0 {
		t.Errorf("%v, %v", c, err)
	}
}

func TestSplitURL(t *testing.T) {
	for _, row := range []struct{ url, base, path string }{
		{"https://127.0.0.1:1/write", "https://127.0.0.1:1", "/write"},
		{"http://127.0.0.1:1/", "http://127.0.0.1:1", "/"},
		{"http://127.0.0.1:1", "http://127.0.0.1:1", "/"},
	} {
		if base, path := splitURL(row.url); base != row.base || path != row.path {
			t.Errorf("%s: %s and %s", row.url, base, path)
		}
	}
}

// A ratio is taken within a round: the second round was disturbed for both.
func TestRatio(t *testing.T) {
	s := series{64, map[string][]turn{"a": {{cpu: 2}, {cpu: 20}, {cpu: 3}}, "b": {{cpu: 1}, {cpu: 10}, {cpu: 1}}}}
	if got, want := s.ratio("a", "b", cpu), (spread{2, 2, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A timed figure gets a margin, a counted one does not.
func TestBudgetsAreHeld(t *testing.T) {
	r := &results{
		series: []series{{64, map[string][]turn{
			stickyRead: {{cpu: 8, allocations: 1000}}, nginxPlain: {{cpu: 1}}, sharedRead: {{cpu: 1}}, frontRead: {{cpu: 1}}, nginxBalances: {{cpu: 1}},
		}}},
		operations: map[string]float64{"shared, read": 2},
	}
	for margin, want := range map[float64]int{1: 3, 10: 2, 1000: 1} {
		table, broken := r.budgetTable(margin)
		if len(broken) != want || len(table.rows) != 4 {
			t.Errorf("margin %v: %d figures, broken %q", margin, len(table.rows), broken)
		}
	}
}
