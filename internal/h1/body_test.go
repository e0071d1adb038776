package h1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// A chunked body is the same in whatever pieces it comes, and says that it waits exactly when it would read.
func TestChunkedBodies(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"plain", "3\r\nabc\r\n0\r\n\r\n", "abc [] "},
		{"upper case and zeros", "000A\r\n0123456789\r\n0\r\n\r\n", "0123456789 [] "},
		{"extension", "3;a=\"b\";c\r\nabc\r\n0;x\r\n\r\nrest", "abc [] rest"},
		{"trailer", "1\r\na\r\n1\r\nb\r\n0\r\nX: 1\r\nx: 2\r\n\r\n", "ab [{X 1} {x 2}] "},
		{"space after the size", "3 \r\nabc\r\n0\r\n\r\n", "malformed"},
		{"0x", "0x3\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"sign", "+3\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"no size", "\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"too large", "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"too many digits", "00000000000000003\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"bare LF", "3\nabc\r\n0\r\n\r\n", "malformed"},
		{"LF in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"CR in an extension", "3;a\rb\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"more data than said", "3\r\nabcd\r\n0\r\n\r\n", "malformed"},
		{"folded trailer", "0\r\nX: 1\r\n 2\r\n\r\n", "malformed"},
		{"long size line", "3;" + strings.Repeat("a", maxChunkLine) + "\r\nabc\r\n0\r\n\r\n", "malformed"},
		{"endless extensions", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nx\r\n", 20) + "0\r\n\r\n", "malformed"},
		{"cut", "3\r\nab", "unexpected EOF"},
		{"cut before the end", "3\r\nabc\r\n0\r\n", "unexpected EOF"},
	} {
		for _, n := range []int{1, 2, 5, len(c.text)} {
			if got := readChunks(t, c.text, n); !strings.Contains(got, c.want) || c.want[0] != got[0] && !strings.HasPrefix(got, "h1:") {
				t.Errorf("%s, in pieces of %d: %q, want %q", c.name, n, got, c.want)
			}
		}
	}
}

func readChunks(t *testing.T, text string, n int) string {
	t.Helper()
	var in buffer
	source := &pieces{strings.NewReader(text), n}
	reads := 0
	b := body{buf: &in, from: func() error { reads++; return in.fillBody(source) }}
	b.reset(byChunks, 0)
	var all []byte
	for {
		waits, before := b.waits(), reads
		part, err := b.next()
		if waits != (reads > before) {
			t.Fatalf("waits is %v, and it read %d times", waits, reads-before)
		}
		if errors.Is(err, io.EOF) {
			rest, _ := io.ReadAll(source)
			return fmt.Sprintf("%s %v %s%s", all, b.trailer(), in.unread(), rest)
		}
		if err != nil {
			return err.Error()
		}
		all = append(all, part...)
	}
}

// Bodies of every size pass through the buffer, and what was kept before stays.
func TestBuffersKeepWhatHeadsPointTo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var b buffer
		text := []byte("head\r\n")
		sent := make([]byte, random.IntN(200_000))
		for i := range sent {
			sent[i] = byte(random.Uint32())
		}
		source := bytes.NewReader(append(append(text, sent...), "next\r\n"...))
		if err := b.fill(&pieces{source, 1 + random.IntN(9000)}); err != nil {
			t.Fatal(err)
		}
		for b.len() < len(text) {
			_ = b.fill(&pieces{source, 10})
		}
		kept := b.take(len(text))
		read := body{buf: &b, from: func() error { return b.fillBody(&pieces{source, 1 + random.IntN(40_000)}) }}
		read.reset(byLength, int64(len(sent)))
		var got []byte
		for part, err := read.next(); err == nil; part, err = read.next() {
			got = append(got, part...)
		}
		b.settle()
		for b.len() < len("next\r\n") {
			if err := b.fill(source); err != nil {
				t.Fatal(err)
			}
		}
		if string(kept) != "head\r\n" || !bytes.Equal(got, sent) || string(b.unread()) != "next\r\n" {
			t.Fatalf("kept %q, %d of %d bytes, then %q", kept, len(got), len(sent), b.unread())
		}
	}
}
