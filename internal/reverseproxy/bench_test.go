package reverseproxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// trivial is a Handler that does what every session costs an engine: one field in, one out.
type trivial struct{ to head.To }

func (h trivial) Request(x *head.Exchange) (head.To, *head.Reply) {
	x.Request.Fields.Add("Pillion-Session", "{}")
	return h.to, nil
}

func (trivial) Response(_ *head.Exchange, h *head.Head) error {
	h.Fields.Del("Pillion-Patch")
	return nil
}

func (trivial) Trailer(*head.Exchange, *head.Head) {}
func (trivial) End(*head.Exchange, error)          {}

// BenchmarkEngine is a request and its answer of 1 KB over loopback, client and app included: both are as cheap as they can be.
func BenchmarkEngine(b *testing.B) {
	answer := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + strings.Repeat("x", 1024)
	app, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer app.Close()
	go func() {
		for {
			c, err := app.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); ; {
					if _, err := http.ReadRequest(r); err != nil {
						return
					}
					_, _ = io.WriteString(c, answer)
				}
			}()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	e := New(head.EngineOptions{Handler: trivial{head.To{Network: "tcp", Address: app.Addr().String()}}})
	go func() { _ = e.Serve(l) }()
	defer func() { _ = e.Shutdown(b.Context()) }()
	request := []byte("GET /path?q=1 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Language: en\r\nCookie: theme=dark\r\n\r\n")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		for in := bufio.NewReader(c); pb.Next(); {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
		}
	})
}
