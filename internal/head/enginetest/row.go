package enginetest

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
)

// row is one exchange of the corpus, byte for byte. Its text:
//
//	== name, with the section of an RFC or a requirement of ours
//	C a line that the client sends
//	a a line that the app must get; without any the app must get nothing
//	A a line that the app answers; without any it answers 200 and "ok"
//	c a line that the client must get; c 200 is the plain answer, another bare status one that the engine makes itself
//	as sent: the app must get what the client sends
//	open, closed: whether the client's connection still serves the next request, or is closed
//	head: the answer has no body, the request being a HEAD
//	partly: the app may see the beginning of the request
//	hangup: the app closes its connection after its answer
//	surplus: the app sends more than its answer, all in one write: what comes later may be taken for the next answer by anybody
//	unsure: the row is not run, for what the engine does depends on who is faster
//	reset: the client has promised to send nothing more, and may find its connection reset
//	waits: the engine waits for more; it gets no more
//	cut: the client gets less than the whole answer, and its connection is closed
//
// Every line ends with CRLF, or without when its last character is a backslash. Other escapes are Go's, and {3*ab} is ababab.
type row struct {
	name, file           string
	client, app          string // sent
	request, answer      string // expected
	closed, head, partly bool
	hangup, cut, asSent  bool
	waits, surplus       bool
	unsure, reset        bool
}

//go:embed corpus/*.txt
var corpus embed.FS

// rows are all rows of the corpus, in the order of their files.
func rows() ([]row, error) {
	names, err := fs.Glob(corpus, "corpus/*.txt")
	if err != nil {
		return nil, err
	}
	var all []row
	for _, name := range names {
		text, err := corpus.ReadFile(name)
		if err != nil {
			return nil, err
		}
		some, err := parseRows(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// parseRows reads the rows of one file.
func parseRows(file, text string) ([]row, error) {
	var all []row
	number := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		number++
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			all = append(all, row{name: name, file: file})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s:%d: %q belongs to no row", file, number, line)
		}
		if err := all[len(all)-1].add(line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, number, err)
		}
	}
	return all, nil
}

// add reads one line of a row.
func (w *row) add(line string) error {
	flags := map[string]*bool{"closed": &w.closed, "head": &w.head, "partly": &w.partly, "hangup": &w.hangup, "cut": &w.cut,
		"waits": &w.waits, "surplus": &w.surplus, "unsure": &w.unsure, "reset": &w.reset, "as sent": &w.asSent, "open": new(bool)}
	if flag, ok := flags[line]; ok {
		*flag = true
		w.closed = w.closed || w.cut
		return nil
	}
	kind, payload, _ := strings.Cut(line, " ")
	bytes, err := unescape(payload)
	switch kind {
	case "C":
		w.client += bytes
	case "a":
		w.request += bytes
	case "A":
		w.app += bytes
	case "c":
		w.answer += bytes
	default:
		return fmt.Errorf("%q is no line of a row", line)
	}
	return err
}

var repeated = regexp.MustCompile(`\{(\d+)\*([^}]*)\}`)

// unescape turns a line of a row into bytes.
func unescape(line string) (string, error) {
	line, open := strings.CutSuffix(line, `\`)
	line = repeated.ReplaceAllStringFunc(line, func(group string) string {
		m := repeated.FindStringSubmatch(group)
		n, _ := strconv.Atoi(m[1])
		return strings.Repeat(m[2], n)
	})
	var out strings.Builder
	for rest := line; rest != ""; {
		if rest[0] != '\\' {
			out.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		c, _, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return "", fmt.Errorf("%q: %w", rest, err)
		}
		out.WriteByte(byte(c)) // \xff is one byte, as it is in a Go string
		rest = tail
	}
	if !open {
		out.WriteString("\r\n")
	}
	return out.String(), nil
}
