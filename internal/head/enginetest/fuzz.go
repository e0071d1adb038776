package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// stalled is how long a fuzzed client waits for bytes that may never come. It then resets its connection, which nobody takes for the end of
// one direction.
const stalled = 5 * time.Millisecond

// Fuzz puts a random client and a random app on the two sides of one engine, with well-meant traffic beside them. Whatever they say:
// nothing panics, each exchange ends once, what leaves on either side is well-formed as far as it goes, and another client gets what is its
// own from the same app. The rows of the corpus are its seeds.
func Fuzz(f *testing.F, build Build) {
	all, err := rows()
	if err != nil {
		f.Fatal(err)
	}
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	for i, w := range all {
		if !fuzzing && i%8 > 0 {
			continue // Corpus runs them all
		}
		if client := w.client; len(client)+len(w.app) < 4096 {
			if client == "" {
				client = simple
			}
			f.Add([]byte(client), []byte(w.app), w.hangup)
		}
	}
	a := &arena{noticed: &noticed{TB: f}}
	f.Cleanup(func() { // after the engine's own
		if err := a.noticed.take(); err != nil {
			f.Error(err)
		}
	})
	a.rig = startRaw(a.noticed, build, &handler{request: a.note}, head.EngineOptions{
		Limits:          head.Limits{HeaderBytes: 16 << 10, HeaderCount: 64, HeaderTimeout: patience},
		UpstreamTimeout: patience,
		Log:             slog.New(panics{a.noticed}),
	}, a.serve)
	f.Fuzz(func(t *testing.T, client, app []byte, hangup bool) {
		if len(client) > 4<<10 || len(app) > 4<<10 {
			t.Skip() // more may come in parts, and what an app says too late is anybody's
		}
		if err := a.meet(client, app, hangup); err != nil {
			t.Error(err)
		}
	})
}

// noticed keeps what is wrong for the input at hand: none of it can be told to the *testing.F while that runs.
type noticed struct {
	testing.TB
	mu   sync.Mutex
	errs []error
}

func (n *noticed) Errorf(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.errs = append(n.errs, fmt.Errorf(format, args...))
}

func (n *noticed) take() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := errors.Join(n.errs...)
	n.errs = nil
	return err
}

// panics is a log handler that fails a test for what an engine has recovered from.
type panics struct{ t testing.TB }

func (panics) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (p panics) WithAttrs([]slog.Attr) slog.Handler         { return p }
func (p panics) WithGroup(string) slog.Handler              { return p }
func (p panics) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "panic") {
		r.Attrs(func(a slog.Attr) bool { p.t.Errorf("%s: %s", r.Message, a); return true })
	}
	return nil
}

// arena is an engine before an app that says what the present input wants.
type arena struct {
	*rig
	noticed *noticed
	conns   conns
	mu      sync.Mutex
	answer  []byte
	hangup  bool
	heads   int // requests by HEAD
	turn    int
}

// note counts the requests whose answers have no body.
func (a *arena) note(x *head.Exchange) *head.Reply {
	if x.Request.Method == "HEAD" {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.heads++
	}
	return nil
}

// serve answers a probe with its own target, and anything else as the input wants.
func (a *arena) serve(c net.Conn, r *bufio.Reader) {
	defer a.conns.add(c)()
	for {
		m, err := readMessage(r, request)
		if err != nil {
			return
		}
		a.mu.Lock()
		text, hangup := a.answer, a.hangup
		if isMalformed(m.broken) {
			a.noticed.Errorf("the app got %q", m)
		}
		a.mu.Unlock()
		if m.broken != nil {
			return
		}
		if isProbe(m) {
			text, hangup = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(m.start), m.start), false
		}
		if _, err := c.Write(text); err != nil || hangup {
			return
		}
	}
}

// isMalformed tells a message that says something wrong from one that only breaks off.
func isMalformed(err error) bool {
	return errors.Is(err, errBareEnd) || errors.Is(err, errFraming) || errors.Is(err, errNoColon) || errors.Is(err, errBadChunk)
}

// meet lets the two meet once, beside a probe and before another.
func (a *arena) meet(client, app []byte, hangup bool) error {
	a.mu.Lock()
	a.answer, a.hangup, a.heads = app, hangup, 0
	a.turn++
	turn := a.turn
	a.mu.Unlock()
	beside := make(chan error, 1)
	go func() { beside <- a.probe(turn, "beside") }()
	got, err := a.say(client)
	if err = errors.Join(err, <-beside); err != nil {
		return err
	}
	over := func() bool { return a.begun.Load() == a.ended.Load() }
	if !within(stalled, over) {
		a.conns.close() // sooner than the engine notices that the client left
	}
	if !within(patience, over) {
		return errors.New("an exchange does not end")
	}
	a.mu.Lock()
	heads := a.heads
	a.mu.Unlock()
	wrong := a.noticed.take()
	if wrong == nil && heads == 0 && !bytes.HasPrefix(client, []byte("HEAD")) {
		wrong = wellFormed(got)
	}
	return errors.Join(wrong, a.probe(turn, "after"))
}

// say sends what the client says and returns what comes until nothing does.
func (a *arena) say(client []byte) ([]byte, error) {
	c, err := net.Dial("tcp", a.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetLinger(0)
	_, _ = c.Write(client)
	return untilSilent(c), nil
}

// untilSilent reads until nothing comes, however that shows.
func untilSilent(c net.Conn) []byte {
	var got bytes.Buffer
	for part := make([]byte, 4096); ; {
		_ = c.SetReadDeadline(time.Now().Add(stalled))
		n, err := c.Read(part)
		got.Write(part[:n])
		if err != nil {
			return got.Bytes()
		}
	}
}

// wellFormed judges the answers that a client got, up to a tunnel.
func wellFormed(got []byte) error {
	for _, m := range answersIn(got) {
		if isMalformed(m.broken) || m.broken == nil && m.status() == 0 {
			return fmt.Errorf("the client got %q of %q", m, got)
		}
	}
	return nil
}

// answersIn takes apart what a client got. The last may be broken, or a 101.
func answersIn(got []byte) (all []*message) {
	for in := bufio.NewReader(bytes.NewReader(got)); ; {
		m, err := readMessage(in, answer)
		if err != nil {
			return all
		}
		if all = append(all, m); m.broken != nil || m.status() == 101 {
			return all
		}
	}
}

// probe asks for something of its own and must get it.
func (a *arena) probe(turn int, when string) error {
	c, err := net.Dial("tcp", a.addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	line := fmt.Sprintf("GET /probe/%d/%s HTTP/1.1", turn, when)
	if _, err := io.WriteString(c, line+"\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	m, err := readMessage(bufio.NewReader(c), answer)
	if err != nil || m.broken != nil || m.status() != 200 || m.body != line {
		return errors.Join(fmt.Errorf("a request %s it got %q", when, m), err)
	}
	return nil
}
