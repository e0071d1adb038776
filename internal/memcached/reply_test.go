package memcached

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bradfitz/gomemcache/memcache"
)

func noMatter(bool) {}

func TestReplies(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, c := range []struct {
		op     operation
		text   string
		value  string
		said   error
		broken bool
	}{
		{op: opGet, text: "END\r\n", said: memcache.ErrCacheMiss},
		{op: opGet, text: "VALUE key 7 3 42\r\nabc\r\nEND\r\n", value: "abc"},
		{op: opGet, text: "VALUE key 0 5 42\r\na\r\nEN\r\nEND\r\n", value: "a\r\nEN"},
		{op: opGet, text: fmt.Sprintf("VALUE key 0 %d 42\r\n%s\r\nEND\r\n", len(long), long), value: long},
		{op: opGet, text: "VALUE kez 0 3 42\r\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 3\r\nabc\r\nEND\r\n", broken: true}, // no token
		{op: opGet, text: "VALUE key 0 3 42 0\r\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 4294967295 42\r\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 -1 42\r\n\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 2 42\r\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 3 42\r\nabc\r\nVALUE key 0 3 42\r\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 3 42\nabc\r\nEND\r\n", broken: true},
		{op: opGet, text: "VALUE key 0 3 42\r\nab", broken: true},
		{op: opGet, text: "EN", broken: true},
		{op: opGet, text: "STORED\r\n", broken: true},
		{op: opGet, text: long, broken: true},
		{op: opCAS, text: "STORED\r\n"},
		{op: opCAS, text: "EXISTS\r\n", said: memcache.ErrCASConflict},
		{op: opCAS, text: "NOT_FOUND\r\n", said: memcache.ErrCacheMiss},
		{op: opCAS, text: "NOT_STORED\r\n", broken: true},
		{op: opCAS, text: "stored\r\n", broken: true},
		{op: opCAS, text: "END\r\n", broken: true},
		{op: opAdd, text: "STORED\r\n"},
		{op: opAdd, text: "NOT_STORED\r\n", said: memcache.ErrNotStored},
		{op: opAdd, text: "EXISTS\r\n", broken: true},
		{op: opAdd, text: "ERROR\r\n", broken: true},
		{op: opAdd, text: "CLIENT_ERROR bad data chunk\r\n", broken: true},
	} {
		for _, rest := range []string{"", "NEXT\r\n"} {
			if rest != "" && (c.broken || !strings.HasSuffix(c.text, "\n")) {
				continue
			}
			// 64 KiB as a pipeline has, a byte at a time.
			r := bufio.NewReaderSize(iotest.OneByteReader(strings.NewReader(c.text+rest)), readAhead)
			answer, said, broken := readReply(r, question{c.op, "key"}, noMatter)
			left, _ := io.ReadAll(r)
			switch {
			case (broken != nil) != c.broken || !errors.Is(said, c.said) || string(answer.value) != c.value:
				t.Errorf("%.60q: %+v, said %v, broken %v", c.text, answer, said, broken)
			case c.value != "" && (!answer.hit || answer.cas != 42):
				t.Errorf("%.60q: %+v", c.text, answer)
			case broken == nil && string(left) != rest:
				t.Errorf("%.60q: %q is left", c.text, left)
			}
		}
	}
}

// What a node denies is an answer like others: the next one is in its place.
func TestDenialIsAnAnswer(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("SERVER_ERROR out of memory storing object\r\nSTORED\r\n"))
	_, said, broken := readReply(r, question{opCAS, "key"}, noMatter)
	if broken != nil || resultOf(said) != denied {
		t.Errorf("said %v, broken %v", said, broken)
	}
	if _, said, broken = readReply(r, question{opAdd, "key"}, noMatter); said != nil || broken != nil {
		t.Errorf("then said %v, broken %v", said, broken)
	}
}

// FuzzReply: whatever comes, an answer is of the key that was asked for and of exactly the bytes that it was read from.
func FuzzReply(f *testing.F) {
	for _, text := range []string{"END\r\n", "VALUE key 0 3 42\r\nabc\r\nEND\r\n", "STORED\r\n", "SERVER_ERROR x\r\n", "NOT_STORED\r\nEND\r\n", "VALUE"} {
		f.Add([]byte(text), byte(0))
		f.Add([]byte(text), byte(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, op byte) {
		q := question{operation(op % 3), "key"}
		source := bytes.NewReader(text)
		r := bufio.NewReaderSize(source, readAhead)
		answer, said, broken := readReply(r, q, noMatter)
		if broken != nil {
			return
		}
		used := text[:len(text)-source.Len()-r.Buffered()]
		var flags uint32
		line, _, _ := bytes.Cut(used, []byte("\r\n"))
		switch {
		case answer.hit:
			_, err := fmt.Sscanf(string(line), "VALUE key %d", &flags)
			_, rest, _ := bytes.Cut(used, []byte("\r\n"))
			if want := string(answer.value) + "\r\nEND\r\n"; err != nil || q.op != opGet || said != nil || string(rest) != want {
				t.Errorf("%q is %+v, %v", used, answer, said)
			}
		case q.op == opGet && said == nil, len(used) != len(line)+2:
			t.Errorf("%q is %+v, %v", used, answer, said)
		case said == nil && string(line) != "STORED":
			t.Errorf("%q is an acknowledgement", used)
		}
	})
}
