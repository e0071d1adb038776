package enginetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// message is one request or answer as it was on the wire. The reader below is strict: what an engine writes must be beyond doubt.
type message struct {
	start    string
	fields   []string // "Name: value", in order
	body     string   // without the chunks it came in
	trailers []string
	broken   error // why it ends too early
}

var (
	errBareEnd  = errors.New("enginetest: a line ends without CRLF")
	errFraming  = errors.New("enginetest: the framing is ambiguous")
	errNoColon  = errors.New("enginetest: a field line without a name")
	errBadChunk = errors.New("enginetest: malformed chunk")
)

// kind says how the end of a message is found (RFC 9112, section 6.3).
type kind int

const (
	request  kind = iota // without a length there is no body
	answer               // without a length it ends with the connection
	bodyless             // the answer to a HEAD
)

// readMessage reads one message; io.EOF means that there is none. A message that breaks off has broken set.
func readMessage(r *bufio.Reader, k kind) (*message, error) {
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	m := &message{}
	m.broken = m.read(r, k)
	return m, nil
}

func (m *message) read(r *bufio.Reader, k kind) (err error) {
	if m.start, err = readLine(r); err != nil {
		return err
	}
	if m.fields, err = readFields(r); err != nil {
		return err
	}
	return m.readBody(r, k)
}

// readLine reads a line that must end with CRLF.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return line, err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return line, errBareEnd
	}
	return text, nil
}

func readFields(r *bufio.Reader) (fields []string, err error) {
	for {
		line, err := readLine(r)
		if err != nil || line == "" {
			return fields, err
		}
		if name, _, ok := strings.Cut(line, ":"); !ok || name == "" || strings.ContainsAny(name, " \t") {
			return fields, errNoColon
		}
		fields = append(fields, line)
	}
}

// value returns the values of a field, all in lower case.
func (m *message) values(name string) (values []string) {
	for _, line := range m.fields {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			values = append(values, strings.ToLower(strings.TrimSpace(v)))
		}
	}
	return values
}

func (m *message) readBody(r *bufio.Reader, k kind) error {
	lengths, codings := m.values("Content-Length"), m.values("Transfer-Encoding")
	if len(lengths)+len(codings) > 1 {
		return errFraming
	}
	status := m.status()
	switch {
	case k == bodyless, status >= 100 && status < 200, status == 204, status == 304:
		return nil
	case len(codings) == 1:
		if codings[0] != "chunked" {
			return errFraming
		}
		return m.readChunks(r)
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil {
			return fmt.Errorf("%w: %w", errFraming, err)
		}
		body, err := io.ReadAll(io.LimitReader(r, int64(n)))
		m.body = string(body)
		if err == nil && len(body) < int(n) {
			err = io.ErrUnexpectedEOF
		}
		return err
	case k == request:
		return nil
	}
	body, err := io.ReadAll(r)
	m.body = string(body)
	return err
}

func (m *message) readChunks(r *bufio.Reader) error {
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(line, 16, 31) // an engine has no extensions to send
		if err != nil {
			return errBadChunk
		}
		if n == 0 {
			m.trailers, err = readFields(r)
			return err
		}
		chunk := make([]byte, n+2)
		got, err := io.ReadFull(r, chunk)
		m.body += string(chunk[:min(got, int(n))])
		if err != nil {
			return err
		}
		if string(chunk[n:]) != "\r\n" {
			return errBadChunk
		}
	}
}

// status is that of an answer, 0 for a request.
func (m *message) status() int {
	version, rest, _ := strings.Cut(m.start, " ")
	if !strings.HasPrefix(version, "HTTP/1.") {
		return 0
	}
	code, _, _ := strings.Cut(rest, " ")
	status, _ := strconv.Atoi(code)
	return status
}

// without returns m without the field lines that gone names.
func (m *message) without(gone func(line string) bool) *message {
	other := *m
	other.fields = slices.DeleteFunc(slices.Clone(m.fields), gone)
	return &other
}

// sorted returns m as net/http would have spelt it: canonical names, the lines of one name in order, the names in any.
func (m *message) sorted() *message {
	other := *m
	other.fields, other.trailers = sortedLines(m.fields), sortedLines(m.trailers)
	return &other
}

func sortedLines(lines []string) []string {
	lines = slices.Clone(lines)
	for i, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		lines[i] = strings.ToLower(name) + ":" + value
	}
	slices.SortStableFunc(lines, func(a, b string) int {
		a, _, _ = strings.Cut(a, ":")
		b, _, _ = strings.Cut(b, ":")
		return strings.Compare(a, b)
	})
	return lines
}

// String is what two messages are compared by.
func (m *message) String() string {
	text := m.start + "\n" + strings.Join(m.fields, "\n") + "\n\n" + m.body
	if len(m.trailers) > 0 {
		text += "\n" + strings.Join(m.trailers, "\n")
	}
	if m.broken != nil {
		text += "\n(" + m.broken.Error() + ")"
	}
	return text
}
