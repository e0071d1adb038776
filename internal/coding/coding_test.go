package coding

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func TestChoose(t *testing.T) {
	for accept, want := range map[string]Coding{
		"":                               Identity,
		"gzip":                           Gzip,
		"GZip":                           Gzip,
		"x-gzip":                         Gzip,
		"gzip, deflate, br, zstd":        Zstd,
		"br":                             Identity,
		"zstd;q=0.5, gzip":               Gzip,
		"zstd;q=0.5, gzip;q=0.5":         Zstd,
		"zstd;q=0.501 , gzip;q=0.5":      Zstd,
		"gzip;q=0":                       Identity,
		"gzip;q=0.000, *":                Identity,
		"*":                              Gzip,
		"*;q=0":                          Identity,
		"gzip;q=0, zstd;q=0.001":         Zstd,
		"identity":                       Identity,
		"identity, gzip;q=0.5":           Identity,
		"identity;q=0.5, gzip;q=0.5":     Gzip,
		"identity;q=0, gzip;q=0.1":       Gzip,
		"gzip ; q=1.0":                   Gzip,
		"gzip;Q=0.1, identity;q=0.2":     Identity,
		"gzip;q=2":                       Identity,
		"gzip;q=":                        Identity,
		"gzip;level=9":                   Identity,
		"gzip;q=-1":                      Identity,
		"gzip;q=1e0":                     Identity,
		"gzip;q=0.5555, zstd;q=0.1":      Zstd,
		", ,gzip,":                       Gzip,
		"gzip;q=0.1 | zstd;q=0.2":        Zstd,
		"compress, gzip;q=0.9, *;q=0.95": Gzip,
	} {
		if got := Choose(strings.Split(accept, "|")); got != want {
			t.Errorf("%q chooses %q, want %q", accept, got, want)
		}
	}
	if got := Choose(nil); got != Identity {
		t.Errorf("nothing said chooses %q", got)
	}
}

func FuzzChoose(f *testing.F) {
	f.Add("gzip;q=0.5, zstd;q=1, *;q=0")
	f.Fuzz(func(t *testing.T, accept string) {
		switch c := Choose([]string{accept}); {
		case c == Zstd && !strings.Contains(strings.ToLower(accept), "zstd"),
			c == Gzip && !strings.Contains(strings.ToLower(accept), "gzip") && !strings.Contains(accept, "*"):
			t.Errorf("%q chooses %q", accept, c)
		}
	})
}

func decoded(t *testing.T, c Coding, body io.Reader) ([]byte, error) {
	t.Helper()
	if c == Gzip {
		r, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	r, err := zstd.NewReader(body, zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return io.ReadAll(r)
}

func both(t *testing.T, test func(t *testing.T, c Coding)) {
	for _, c := range []Coding{Gzip, Zstd} {
		t.Run(string(c), func(t *testing.T) { test(t, c) })
	}
}

// Bodies of every size come back as they were, however they are read, from encoders that served others before.
func TestBodies(t *testing.T) {
	both(t, func(t *testing.T, c Coding) {
		var e Encoders
		random := rand.New(rand.NewPCG(1, 2))
		for _, size := range []int{0, 1, 100, readSize - 1, readSize, readSize + 1, 1 << 20} {
			text := make([]byte, size)
			for i := range text {
				text[i] = byte('a' + random.IntN(4))
			}
			for name, read := range map[string]func(io.Reader) io.Reader{
				"whole": func(r io.Reader) io.Reader { return r }, "halves": iotest.HalfReader, "end with data": iotest.DataErrReader,
			} {
				body := e.Reader(c, read(bytes.NewReader(text)))
				got, err := decoded(t, c, body)
				if err != nil || !bytes.Equal(got, text) {
					t.Errorf("%s: %d bytes became %d, %v", name, size, len(got), err)
				}
				_ = body.Close()
				_ = body.Close()
				if _, err := body.Read(make([]byte, 1)); err == nil || err == io.EOF {
					t.Errorf("a closed body says %v", err)
				}
			}
		}
		if n := e.running.Load(); n != 0 {
			t.Errorf("%d encoders run", n)
		}
	})
}

// What one Read of the body gave can be decoded before there is more.
func TestStreams(t *testing.T) {
	both(t, func(t *testing.T, c Coding) {
		var e Encoders
		in, app := io.Pipe()
		body := e.Reader(c, in)
		defer body.Close()
		client, out := io.Pipe()
		go func() { _, err := io.Copy(out, body); _ = out.CloseWithError(err) }()
		var plain io.Reader
		go fmt.Fprint(app, "event 0\n")
		if c == Gzip {
			r, err := gzip.NewReader(client)
			if err != nil {
				t.Fatal(err)
			}
			plain = r
		} else {
			r, err := zstd.NewReader(client, zstd.WithDecoderConcurrency(1))
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			plain = r
		}
		event := make([]byte, len("event 0\n"))
		for i := range 5 {
			if i > 0 {
				go fmt.Fprintf(app, "event %d\n", i)
			}
			if _, err := io.ReadFull(plain, event); err != nil || string(event) != fmt.Sprintf("event %d\n", i) {
				t.Fatalf("%q, %v", event, err)
			}
		}
		_ = app.Close()
		if n, err := plain.Read(event); n != 0 || err != io.EOF {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// A body that breaks off is not made to look whole.
func TestBrokenBody(t *testing.T) {
	broken := errors.New("broken")
	both(t, func(t *testing.T, c Coding) {
		var e Encoders
		body := e.Reader(c, io.MultiReader(strings.NewReader("part"), iotest.ErrReader(broken)))
		defer body.Close()
		text, err := io.ReadAll(body)
		if !errors.Is(err, broken) {
			t.Errorf("ends with %v", err)
		}
		if got, err := decoded(t, c, bytes.NewReader(text)); err == nil {
			t.Errorf("what was sent is taken for the whole of %q", got)
		}
	})
}

func TestBusy(t *testing.T) {
	var e Encoders
	var all []io.Closer
	for range maxRunning {
		if e.Busy() {
			t.Fatal("busy too early")
		}
		all = append(all, e.Reader(Zstd, strings.NewReader("")))
	}
	if !e.Busy() {
		t.Error("not busy")
	}
	for _, c := range all {
		_ = c.Close()
	}
	if e.Busy() {
		t.Error("still busy")
	}
}

func BenchmarkReader(b *testing.B) {
	for _, c := range []Coding{Gzip, Zstd} {
		for _, size := range []int{2 << 10, 64 << 10} {
			text := page(size)
			b.Run(fmt.Sprintf("%s/%d", c, size), func(b *testing.B) {
				var e Encoders
				var packed int64
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					body := e.Reader(c, bytes.NewReader(text))
					packed, _ = io.Copy(io.Discard, body)
					_ = body.Close()
				}
				b.ReportMetric(float64(size)/float64(packed), "ratio")
			})
		}
	}
}

// page is like a page of HTML.
func page(size int) []byte {
	random := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields("the session of a visitor is found by its route <li class=item> </li> <a href=/shop/item?id= > </a> price stock order cart 17 99 2026")
	var text bytes.Buffer
	for text.Len() < size {
		text.WriteString(words[random.IntN(len(words))])
		fmt.Fprintf(&text, "%d ", random.IntN(1000))
	}
	return text.Bytes()[:size]
}
