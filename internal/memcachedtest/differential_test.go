package memcachedtest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

const (
	workers = 4        // connections at once, each with keys of its own
	rounds  = 8        // after each all wait, look at everything, and flush or restart
	batches = 50       // of each worker in each round
	perPipe = 64       // commands in a batch: 102 400 for each seed
	noToken = "999999" // a CAS id that no server gets to
)

// TestSameAsReal asks the embedded and the real memcached the same at random, and wants the same answers, keys and counters.
func TestSameAsReal(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			embedded, address := memtest.Start(t, memcachedtest.Options{MaxBytes: 1 << 30})
			real := memtest.StartReal(t, "-m", "1024")
			all := make([]*worker, workers)
			for i := range all {
				all[i] = &worker{t: t, random: rand.New(rand.NewPCG(seed, uint64(i))), prefix: fmt.Sprintf("w%d_", i)}
			}
			for round := range rounds {
				var group sync.WaitGroup
				for _, w := range all {
					w.connect(address, real)
					group.Go(w.round)
				}
				group.Wait()
				if t.Failed() {
					return
				}
				compareState(t, embedded, real)
				if round == rounds/2 { // the tokens of before are tried after it
					embedded.Restart()
					real.Restart()
				} else if round%2 == 0 {
					embedded.FlushAll()
					real.Flush()
				}
			}
		})
	}
}

func compareState(t *testing.T, embedded *memcachedtest.Server, real *memtest.Real) {
	t.Helper()
	// The crawler may overlook an item that the real one is moving in its lists at that moment.
	deadline := time.Now().Add(5 * time.Second)
	for got, want := embedded.Keys(), real.Keys(); !slices.Equal(got, want); want = real.Keys() {
		if time.Now().After(deadline) {
			t.Errorf("keys %q\nreal %q", got, want)
			break
		}
	}
	got, want := embedded.Stats(), real.Stats()
	for _, name := range []string{
		"cmd_get", "get_hits", "get_misses", "cmd_set", "cmd_touch", "touch_hits", "touch_misses", "delete_hits", "delete_misses",
		"cas_hits", "cas_misses", "cas_badval", "incr_hits", "incr_misses", "decr_hits", "decr_misses", "cmd_flush",
	} {
		if fmt.Sprint(got[name]) != want[name] {
			t.Errorf("%s = %d, real counts %s", name, got[name], want[name])
		}
	}
}

// worker talks with both servers at once.
type worker struct {
	t      *testing.T
	random *rand.Rand
	prefix string
	conns  [2]net.Conn
	reads  [2]*bufio.Reader
	tokens [2]map[string]string // the last CAS id seen of each key: the servers count alike, but connections race
}

func (w *worker) connect(address string, real *memtest.Real) {
	w.t.Helper()
	for i := range w.conns {
		if w.conns[i] != nil {
			w.conns[i].Close()
		}
		conn, err := net.Dial("tcp", address)
		if i == 1 {
			conn, err = real.Dial()
		}
		if err != nil {
			w.t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		w.conns[i], w.reads[i] = conn, bufio.NewReader(conn)
		if w.tokens[i] == nil {
			w.tokens[i] = map[string]string{}
		}
	}
	w.t.Cleanup(func() { w.conns[0].Close(); w.conns[1].Close() })
}

func (w *worker) round() {
	for range batches {
		var commands []request
		var sent [2]bytes.Buffer
		for range perPipe {
			r := w.request()
			commands = append(commands, r)
			for i := range sent {
				token, ok := w.tokens[i][r.key]
				if !ok {
					token = noToken
				}
				sent[i].WriteString(strings.ReplaceAll(r.text, "TOKEN", token))
			}
		}
		for i := range sent {
			go func() { _, _ = w.conns[i].Write(sent[i].Bytes()) }() // a failure shows where the answer is missing
		}
		for _, r := range commands {
			got, err := w.answer(0, r)
			want, errReal := w.answer(1, r)
			if got != want || err != nil || errReal != nil {
				w.t.Errorf("%.200q\nanswer %.300q, %v\n  real %.300q, %v", r.text, got, err, want, errReal)
				return
			}
		}
	}
}

// answer reads what one server says to r, without CAS ids.
func (w *worker) answer(server int, r request) (string, error) {
	var all strings.Builder
	for lines := r.lines; lines > 0; {
		line, err := w.reads[server].ReadString('\n')
		if err != nil {
			return all.String(), err
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || fields[0] != "VALUE" {
			all.WriteString(line)
			lines--
			continue
		}
		size, err := strconv.Atoi(fields[3])
		if err != nil {
			return line, err
		}
		data := make([]byte, size+2)
		if _, err := io.ReadFull(w.reads[server], data); err != nil {
			return line, err
		}
		if len(fields) == 5 {
			w.tokens[server][fields[1]] = fields[4]
			line = strings.Join(fields[:4], " ")
		}
		if strings.Contains(fields[1], "_n") { // filled with spaces or not: for the real one that depends on who looks at it
			line, data = strings.Join(fields[:3], " "), bytes.TrimRight(data, " \r\n")
		}
		all.WriteString(line)
		all.Write(data)
	}
	return all.String(), nil
}

// request is one command of a random conversation.
type request struct {
	text  string
	key   string
	lines int // of the answer, not counting values
}

func (w *worker) request() request {
	r := w.random
	key, counter := w.prefix+strconv.Itoa(r.IntN(25)), w.prefix+"n"+strconv.Itoa(r.IntN(5))
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	now := time.Now().Unix()
	// None of these comes near while the test runs: whole seconds begin at different moments in the two.
	exptime := pick("0", "0", "0", "100", "3600", "2592000", "2592001", "-1", "-100", fmt.Sprint(now+1000), fmt.Sprint(now-1000))
	line := func(lines int, format string, args ...any) request {
		return request{fmt.Sprintf(format, args...) + "\r\n", key, lines}
	}
	switch n := r.IntN(100); {
	case n < 20:
		return line(1, "%s %s", pick("get", "gets"), pick(key, key, counter))
	case n < 26:
		return line(1, "%s %s %s%d %s", pick("get", "gets"), key, w.prefix, r.IntN(25), key)
	case n < 31:
		return line(1, "%s %s %s", pick("gat", "gats"), exptime, key)
	case n < 50:
		return w.storage(key, pick("set", "set", "add", "replace", "append", "prepend"), exptime, "")
	case n < 55:
		return w.storage(counter, pick("set", "add", "replace"), exptime, "")
	case n < 72:
		return w.storage(key, "cas", exptime, pick(" TOKEN", " TOKEN", " TOKEN", " 0", " "+noToken))
	case n < 80:
		return line(1, "%s %s %d", pick("incr", "decr"), counter, w.number())
	case n < 86:
		return line(1, "touch %s %s", key, exptime)
	case n < 93:
		return line(1, "delete %s%s", key, pick("", " 0", " 1", " x"))
	case n < 96:
		return line(0, "%s noreply", pick("delete "+key, "incr "+counter+" 1", "touch "+key+" 10", "set "+key+" 0 0 1 noreply\r\n7\r\nset "+key+" 1 0 0 noreply\r\n\r\ndelete "+key))
	}
	return w.malformed(key)
}

func (w *worker) storage(key, verb, exptime, token string) request {
	r := w.random
	data := strings.Repeat("v", r.IntN(20))
	switch r.IntN(40) {
	case 0:
		data = strings.Repeat("long", r.IntN(1000))
	case 1, 2, 3, 4, 5:
		data = strconv.FormatUint(w.number(), 10)
	case 6:
		data = "\r\nEND\r\n\x00\r\n"
	case 7:
		if r.IntN(30) == 0 { // about the limit
			data = strings.Repeat("x", 1<<20-60-len(key)-3+r.IntN(8))
		}
	}
	text := fmt.Sprintf("%s %s %d %s %d%s", verb, key, r.IntN(3)*r.IntN(1<<16), exptime, len(data), token)
	if r.IntN(20) == 0 {
		return request{text + " noreply\r\n" + data + "\r\n", key, 0}
	}
	return request{text + "\r\n" + data + "\r\n", key, 1}
}

// number is so small that sums stay below 2^63: for larger ones the real one looks for a minus sign beyond the end of the value, and
// may find that of another.
func (w *worker) number() uint64 { return w.random.Uint64() >> (8 + w.random.IntN(56)) }

func (w *worker) malformed(key string) request {
	long := strings.Repeat("k", 251)
	all := []request{
		{"set " + key + " 0 0 3\r\nabcde\r\n", key, 2},
		{"set " + key + " x 0 3\r\nabc\r\n", key, 2},
		{"set " + key + " 0 0 -3\r\n", key, 1},
		{"set " + long + " 0 0 1\r\n7\r\n", key, 2},
		{"cas " + key + " 0 0 1\r\n7\r\n", key, 2},
		{"incr " + key + "n x\r\n", key, 1},
		{"touch " + long + " 1\r\n", key, 1},
		{"gat x " + key + "\r\n", key, 1},
		{"nonsense\r\n", key, 1},
		{"\r\n", key, 1},
	}
	return all[w.random.IntN(len(all))]
}
