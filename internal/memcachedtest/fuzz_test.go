package memcachedtest_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/internal/memcachedtest/memtest"
)

// script is a connection that brings what it is told and keeps what is answered.
type script struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *script) Read(b []byte) (int, error)  { return s.in.Read(b) }
func (s *script) Write(b []byte) (int, error) { return s.out.Write(b) }
func (s *script) Close() error                { return nil }

// play runs a connection on a fresh server whose clock stands still.
func play(in io.Reader) (string, *memcachedtest.Server) {
	now := time.Unix(1_800_000_000, 0)
	s := memcachedtest.New(memcachedtest.Options{MaxBytes: 1 << 16, MaxItem: 1 << 12, Now: func() time.Time { return now }})
	conn := &script{in: in}
	s.ServeConn(conn)
	return conn.out.String(), s
}

// Whatever arrives, and in whatever pieces: the answers are the same, whole lines, and memory keeps its bounds.
func FuzzConn(f *testing.F) {
	for _, x := range exchanges {
		if len(x.send) < 4000 {
			f.Add([]byte(strings.ReplaceAll(x.send, "|", "\r\n")))
		}
	}
	f.Add([]byte("stats\r\nlru_crawler metadump all\r\nset a 0 0 4096\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		whole, s := play(bytes.NewReader(sent))
		if pieces, _ := play(iotest.OneByteReader(bytes.NewReader(sent))); pieces != whole {
			t.Errorf("%q\n at once %q\nin bytes %q", sent, whole, pieces)
		}
		if whole != "" && !strings.HasSuffix(whole, "\r\n") {
			t.Errorf("%q: answer %q has no end", sent, whole)
		}
		keys := s.Keys() // looking removes what has expired
		if stats := s.Stats(); stats["bytes"] > 1<<16 || stats["curr_items"] != uint64(len(keys)) || stats["curr_connections"] != 0 {
			t.Errorf("%q: %v", sent, stats)
		}
	})
}

func BenchmarkGet1K(b *testing.B) {
	_, address := memtest.Start(b, memcachedtest.Options{})
	b.Run("embedded", func(b *testing.B) { benchmarkGet(b, address) })
	b.Run("real", func(b *testing.B) { benchmarkGet(b, memtest.StartReal(b).Addr) })
}

func benchmarkGet(b *testing.B, address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	get, answer := []byte("get a\r\n"), make([]byte, len("VALUE a 0 1024\r\n")+1024+len("\r\nEND\r\n"))
	ask(b, conn, "set a 0 0 1024|"+strings.Repeat("v", 1024)+"|", "STORED")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(get); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
}
