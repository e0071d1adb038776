package h1

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// plain is a Handler that does what every session costs an engine: a field out and one in, on both ways.
type plain struct{ to head.To }

func (h plain) Request(x *head.Exchange) (head.To, *head.Reply) {
	x.Request.Fields.Del("Pillion-Session")
	x.Request.Fields.Add("Pillion-Session", "{}")
	return h.to, nil
}

func (plain) Response(_ *head.Exchange, h *head.Head) error {
	h.Fields.Del("Pillion-Patch")
	return nil
}

func (plain) Trailer(*head.Exchange, *head.Head) {}
func (plain) End(*head.Exchange, error)          {}

var benchBytes = []byte(benchAsk)

const benchAsk = "GET /path?q=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench/1.0 (X11; Linux x86_64)\r\nAccept: text/html,application/xhtml+xml\r\n" +
	"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nCookie: theme=dark; session=0123456789abcdef0123456789abcdef\r\n\r\n"

// serveFixed answers every request, which ends with an empty line, with the same bytes, and allocates nothing.
func serveFixed(l net.Listener, answer []byte) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 8<<10)
			for got := 0; ; {
				n, err := c.Read(buf[got:])
				if err != nil {
					return
				}
				if got += n; !bytes.HasSuffix(buf[:got], []byte("\r\n\r\n")) {
					continue
				}
				got = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

func startBench(b *testing.B, body int) (addr string) {
	b.Helper()
	answer := []byte(fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Tue, 24 Nov 2026 22:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", body, strings.Repeat("x", body)))
	apps, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	go serveFixed(apps, answer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	e := New(Options{EngineOptions: head.EngineOptions{Handler: plain{head.To{Network: "tcp", Address: apps.Addr().String()}}}})
	go func() { _ = e.Serve(l) }()
	b.Cleanup(func() {
		_ = e.Shutdown(context.Background())
		apps.Close()
	})
	return l.Addr().String()
}

// BenchmarkEngine is a request and its answer over loopback, client and app included: both are as cheap as they can be.
func BenchmarkEngine(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("body=%d", size), func(b *testing.B) {
			addr := startBench(b, size)
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				buf := make([]byte, 16<<10)
				for pb.Next() {
					if _, err := c.Write(benchBytes); err != nil {
						b.Error(err)
						return
					}
					for got, want := 0, 0; want == 0 || got < want; {
						n, err := c.Read(buf)
						if err != nil {
							b.Error(err)
							return
						}
						if got == 0 {
							want = bytes.Index(buf[:n], []byte("\r\n\r\n")) + 4 + size
						}
						got += n
					}
				}
			})
		})
	}
}

// BenchmarkHead is the parser alone.
func BenchmarkHead(b *testing.B) {
	var p headParser
	in := buffer{b: []byte(benchAsk), w: len(benchAsk)}
	p.Fields = make(head.Fields, 0, 32)
	b.SetBytes(int64(len(benchAsk)))
	b.ReportAllocs()
	for b.Loop() {
		in.r, in.kept = 0, 0
		p.reset(p.Fields)
		if done, refused := p.parse(&in); !done || refused != nil {
			b.Fatal(refused)
		}
	}
}

// BenchmarkIdleConnections says what a connection costs that waits for its next request.
func BenchmarkIdleConnections(b *testing.B) {
	const count = 8000 // two descriptors each
	addr := startBench(b, 10)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	conns := make([]net.Conn, 0, count)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	buf := make([]byte, 1<<10)
	for i := range count {
		source := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%8))}
		c, err := (&net.Dialer{LocalAddr: source}).Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, c)
		if _, err := c.Write(benchBytes); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
	<-time.After(2 * parkAfter)
	for range 3 { // stacks shrink by half each time
		runtime.GC()
	}
	runtime.ReadMemStats(&after)
	used := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	for b.Loop() {
	}
	b.ReportMetric(float64(used)/count, "B/conn")
	b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/count, "stack-B/conn")
}

// BenchmarkStream sends a gibibyte up and another down, and says how large the process is then: no more than 32 MiB, of which a test has some 8
// when it begins.
func BenchmarkStream(b *testing.B) {
	const size, most = 1 << 30, 24 << 20
	var before, m runtime.MemStats
	runtime.ReadMemStats(&before)
	apps, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer apps.Close()
	app := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, _ := io.Copy(io.Discard, r.Body); n > 0 {
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for part := make([]byte, 64<<10); r.Context().Err() == nil; {
			if _, err := w.Write(part); err != nil {
				return
			}
		}
	})}
	go func() { _ = app.Serve(apps) }()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	e := New(Options{EngineOptions: head.EngineOptions{Handler: plain{head.To{Network: "tcp", Address: apps.Addr().String()}}}})
	go func() { _ = e.Serve(l) }()
	defer func() { _ = e.Shutdown(context.Background()) }()
	b.SetBytes(2 * size)
	for b.Loop() {
		up, err := http.Post("http://"+l.Addr().String(), "application/octet-stream", io.LimitReader(zeros{}, size))
		if err != nil || up.StatusCode != 200 {
			b.Fatal(up, err)
		}
		up.Body.Close()
		down, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, down.Body); n != size || err != nil {
			b.Fatal(n, err)
		}
		down.Body.Close()
	}
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-process")
	if grew := int64(m.Sys - before.Sys); grew > most {
		b.Errorf("the process grew by %d MiB", grew>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
