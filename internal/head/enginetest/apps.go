package enginetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
)

// ask is a request after which the connection closes.
const ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

// readHead reads a request's head.
func readHead(r *bufio.Reader) (string, error) {
	var got strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		got.WriteString(line)
		if line == "\r\n" {
			return got.String(), nil
		}
	}
}

// says is an app that gives one answer and closes.
func says(text string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		if _, err := readHead(r); err == nil {
			_, _ = io.WriteString(c, text)
		}
	}
}

// showHead is an app that answers with the head it got, byte for byte, and closes.
func showHead(c net.Conn, r *bufio.Reader) {
	if got, err := readHead(r); err == nil {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s", got)
	}
}

// plain is what an app answers that has nothing else to say.
const plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// witness is an app that keeps every request it gets and answers each as a row says.
type witness struct {
	mu       sync.Mutex
	got      []*message
	text     string // the answer; "" is plain
	hangup   bool   // close the connection after it
	bytewise bool
	tries    int
	conns    conns
}

// conns are the open connections of an app.
type conns struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

// add keeps c until what it returns is called.
func (s *conns) add(c net.Conn) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[net.Conn]bool{}
	}
	s.open[c] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, c)
	}
}

// close closes all of them.
func (s *conns) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		_ = c.Close()
	}
}

func isProbe(m *message) bool { return strings.HasPrefix(m.start, "GET /probe/") }

// say sets the answer, forgets what was seen, and returns a request that is always answered plainly: no two are the same.
func (w *witness) say(text string, hangup, bytewise bool) (probe string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.got, w.text, w.hangup, w.bytewise = nil, text, hangup, bytewise
	w.tries++
	return fmt.Sprintf("GET /probe/%d HTTP/1.1\r\nHost: a\r\n\r\n", w.tries)
}

// injected is what the handler adds to each request of a row. No client can remove it or bring its like (H1, H2, H4).
func (w *witness) injected() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mark()
}

// mark is injected while w.mu is held.
func (w *witness) mark() string { return fmt.Sprintf("Pillion-Meta: %d", w.tries) }

// take returns the requests of the present row, and how often its probe came: an engine may still be busy with an earlier one.
func (w *witness) take() (got []*message, probes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.got {
		switch {
		case !slices.Contains(m.fields, w.mark()):
		case isProbe(m):
			probes++
		default:
			got = append(got, m)
		}
	}
	return got, probes
}

func (w *witness) serve(c net.Conn, r *bufio.Reader) {
	defer w.conns.add(c)()
	for {
		m, err := readMessage(r, request)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.got = append(w.got, m)
		text, hangup, bytewise := w.text, w.hangup, w.bytewise
		if isProbe(m) {
			text, hangup = plain, false
		} else if text == "" {
			text = plain
		}
		w.mu.Unlock()
		if m.broken != nil {
			return
		}
		write(c, text, bytewise)
		if hangup {
			return
		}
	}
}

// write sends text, byte by byte when it shall find every boundary in a parser.
func write(c net.Conn, text string, bytewise bool) {
	if !bytewise {
		_, _ = io.WriteString(c, text) // who does not listen is noticed by what it gets
		return
	}
	for i := range len(text) {
		if _, err := io.WriteString(c, text[i:i+1]); err != nil {
			return
		}
	}
}
