package enginetest

import (
	"bufio"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// expected is an answer that the client must get: this message, or one that the engine makes itself, with one of these statuses.
type expected struct {
	message *message
	own     []string
}

func (e expected) String() string {
	if e.message == nil {
		return fmt.Sprintf("an answer of the engine's own, %v", e.own)
	}
	return e.message.String()
}

var bareStatus = regexp.MustCompile(`^\d{3}( \d{3})*\r\n`)

// parseExpected reads the answers of a row.
func parseExpected(w row) ([]expected, error) {
	var all []expected
	rest := w.answer
	for rest != "" {
		if after, ok := strings.CutPrefix(rest, "200\r\n"); ok {
			rest = plain + after
		}
		if own := bareStatus.FindString(rest); own != "" {
			all = append(all, expected{own: strings.Fields(own)})
			rest = rest[len(own):]
			continue
		}
		source := strings.NewReader(rest)
		in := bufio.NewReaderSize(source, len(rest)+16)
		m, err := readMessage(in, w.kind())
		if err != nil {
			return nil, fmt.Errorf("%q is no answer: %w", rest, err)
		}
		if m.broken != nil && !w.cut {
			return nil, fmt.Errorf("%q is no whole answer: %w", rest, m.broken)
		}
		all = append(all, expected{message: m})
		rest = rest[len(rest)-in.Buffered()-source.Len():]
	}
	return all, nil
}

// compareAnswer tells what is wrong with an answer.
func (c *court) compareAnswer(w row, want expected, got *message, last bool) error {
	if w.cut {
		if got.broken == nil || !strings.HasPrefix(want.message.body, got.body) {
			return fmt.Errorf("the client gets %q and must not take it for whole", got)
		}
		return nil
	}
	if got.broken != nil {
		return fmt.Errorf("the client gets half an answer: %q", got)
	}
	closes := slices.ContainsFunc(got.values("Connection"), func(v string) bool { return strings.Contains(v, "close") })
	if last && w.closed && !closes && got.status() >= 200 && !strings.Contains(firstLine(w.client), "HTTP/1.0") {
		return fmt.Errorf("the client is not told that the connection closes: %q", got)
	}
	if want.message == nil {
		return c.compareOwn(w, want, got)
	}
	got = got.without(func(line string) bool {
		return strings.HasPrefix(line, "Date:") || strings.EqualFold(line, "Connection: close")
	})
	got.start = statusLine(got.start)
	wanted := want.message.without(func(line string) bool { return line == "Connection: close" })
	wanted.start = statusLine(wanted.start)
	if !c.same(wanted, got) {
		return fmt.Errorf("the client gets %q, want %q", got, wanted)
	}
	return nil
}

// statusLine is a status line without what says nothing: a version of two that are right (RFC 9110, section 6.2), and a reason.
func statusLine(line string) string {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	return strings.Replace(version, "HTTP/1.0", "HTTP/1.1", 1) + " " + code
}

// compareOwn judges an answer that the engine makes itself: it says so, and no cache keeps it.
func (c *court) compareOwn(w row, want expected, got *message) error {
	if !slices.Contains(want.own, strconv.Itoa(got.status())) {
		return fmt.Errorf("the client gets %q, want %q", got, want)
	}
	says := strings.Join(got.values("Proxy-Status"), ", ")
	if !strings.HasPrefix(says, "pillion; error=") || !slices.Contains(got.values("Cache-Control"), "no-store") || got.body == "" && !w.head {
		return fmt.Errorf("the client gets %q, which does not say that it is ours", got)
	}
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\r\n")
	return line
}

// framing are the fields that an engine writes anew; where they stand says nothing.
var framing = []string{"host:", "content-length:", "transfer-encoding:", "connection:", "upgrade:", "trailer:"}

// same compares two messages.
func (c *court) same(want, got *message) bool {
	if c.loose {
		return want.sorted().String() == got.sorted().String()
	}
	isFraming := func(line string) bool {
		return slices.ContainsFunc(framing, func(name string) bool { return strings.HasPrefix(strings.ToLower(line), name) })
	}
	others := func(line string) bool { return !isFraming(line) }
	return want.without(isFraming).String() == got.without(isFraming).String() &&
		want.without(others).sorted().String() == got.without(others).sorted().String()
}
