package enginetest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// rowPatience is how long a row may take in one mode.
const rowPatience = 2 * time.Second

// simple is what the client sends in a row that is about the answer.
const simple = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// mode is how the bytes of a row travel. Each row is run in every mode that fits it.
type mode string

const (
	together mode = "together" // in one write with the next request
	apart    mode = "apart"    // the next request comes after the answer
	bytewise mode = "bytewise" // byte by byte, with the next request
)

// Corpus runs every row of corpus/*.txt.
func Corpus(t *testing.T, build Build) {
	startCourt(t, build, nil).tryAll(t)
}

// CorpusTLS does the same through TLS, where an engine cannot look at its client's socket.
func CorpusTLS(t *testing.T, build Build) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	startCourt(t, build, &tls.Config{Certificates: certified.TLS.Certificates}).tryAll(t)
}

func (c *court) tryAll(t *testing.T) {
	all, err := rows()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		t.Run(w.name, func(t *testing.T) {
			for _, m := range w.modes() {
				if err := c.try(w, m); err != nil {
					t.Errorf("%s, %s: %v", w.file, m, err)
					c.witness.conns.close() // what hangs shall not hang the rows to come
				}
			}
		})
	}
}

func (w row) modes() []mode {
	if w.unsure {
		return nil
	}
	modes := []mode{together}
	if !w.closed {
		modes = append(modes, apart)
	}
	if len(w.client)+len(w.app) < 4096 && !w.surplus {
		modes = append(modes, bytewise)
	}
	return modes
}

// requested is what the app must get.
func (w row) requested() string {
	if w.asSent {
		return w.client
	}
	return w.request
}

// court is an engine between a client and an app that both take notes.
type court struct {
	*rig
	*witness
	loose  bool // the order and spelling of lines mean nothing
	secure bool // clients come through TLS
}

func startCourt(t testing.TB, build Build, secure *tls.Config) *court {
	forwarded := []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"} // our own, on every request
	w := &witness{}
	h := &handler{request: func(x *head.Exchange) *head.Reply {
		x.Request.Fields.Keep(func(name string) bool { return notPillion(name) && !slices.Contains(forwarded, name) })
		name, value, _ := strings.Cut(w.injected(), ": ")
		x.Request.Fields.Add(name, value)
		return nil
	}}
	o := head.EngineOptions{Limits: head.Limits{HeaderBytes: 16 << 10, HeaderCount: 64}, UpstreamTimeout: patience, TLS: secure}
	return &court{rig: startRaw(t, build, h, o, w.serve), witness: w, secure: secure != nil}
}

// connect opens a client's connection.
func (c *court) connect() (net.Conn, error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(rowPatience))
	if c.secure {
		return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}), nil // who it is matters not to a row
	}
	return conn, nil
}

// try runs one row.
func (c *court) try(w row, m mode) error {
	probe := c.say(w.app, w.hangup, m == bytewise)
	sent := w.client
	if sent == "" {
		sent = simple
	}
	conn, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if m == apart {
		write(conn, sent, false)
	} else {
		go write(conn, sent+probe, m == bytewise)
	}
	if err := c.judgeAnswers(w, conn, m, probe); err != nil {
		return err
	}
	_ = conn.Close()
	if !within(rowPatience, func() bool { return c.begun.Load() == c.ended.Load() }) {
		return errors.New("the exchange does not end")
	}
	return c.judgeRequests(w)
}

// judgeAnswers compares what the client gets, and what becomes of its connection.
func (c *court) judgeAnswers(w row, conn net.Conn, m mode, probe string) error {
	if w.waits {
		_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		if got, err := io.ReadAll(conn); len(got) > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.Join(fmt.Errorf("the client gets %q", got), err)
		}
		return nil
	}
	expected, err := parseExpected(w)
	if err != nil {
		return err
	}
	in := bufio.NewReader(conn)
	for i, want := range expected {
		got, err := readMessage(in, w.kind())
		if err != nil {
			if w.cut {
				break // even the head was held back
			}
			return fmt.Errorf("the client gets no answer: %w; want %q", err, want)
		}
		if err := c.compareAnswer(w, want, got, i == len(expected)-1); err != nil {
			return err
		}
	}
	if w.cut {
		return nil
	}
	if w.closed {
		rest, err := io.ReadAll(in)
		if err != nil && !(w.reset && errors.Is(err, syscall.ECONNRESET)) || len(rest) > 0 {
			return errors.Join(fmt.Errorf("the connection is to be closed, there is %q", rest), err)
		}
		return nil
	}
	if m == apart {
		write(conn, probe, false)
	}
	got, err := readMessage(in, answer)
	if err != nil || got.status() != 200 || got.body != "ok" || got.broken != nil {
		return errors.Join(fmt.Errorf("the next request on the connection gets %q", got), err)
	}
	return nil
}

func (w row) kind() kind {
	if w.head {
		return bodyless
	}
	return answer
}

// judgeRequests compares what the app got.
func (c *court) judgeRequests(w row) error {
	got, probes := c.take()
	if next := map[bool]int{true: 0, false: 1}[w.closed]; probes != next {
		return fmt.Errorf("the app got the next request %d times, want %d", probes, next)
	}
	var wanted []*message
	for in := bufio.NewReader(strings.NewReader(w.requested())); ; {
		want, err := readMessage(in, request)
		if err != nil {
			break
		}
		wanted = append(wanted, want)
	}
	if w.partly {
		got = slices.DeleteFunc(got, func(m *message) bool { return m.broken != nil })
	}
	if len(got) != len(wanted) {
		return fmt.Errorf("the app got %q, want %q", got, wanted)
	}
	for i, want := range wanted {
		seen := got[i].without(func(line string) bool { return line == c.injected() })
		if len(seen.fields) != len(got[i].fields)-1 {
			return fmt.Errorf("the app got %q, want one line %q", got[i], c.injected())
		}
		if !c.same(want, seen) {
			return fmt.Errorf("the app got %q, want %q", seen, want)
		}
	}
	return nil
}
