package enginetest

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// requestsHTTP2 are requests as no well-meaning client of HTTP/2 sends them: field lines after the four of every request, which they replace where
// they name them; a body; trailers. The client gets a status, or its stream or connection reset; the app gets a request in HTTP/1.1, or none.
var requestsHTTP2 = []struct {
	name     string
	fields   []string
	body     string
	trailers []string
	answer   string
	app      string
}{
	{name: "a GET", answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "P6 the target stays", fields: []string{":path: /%2e%2e//b%2F?y=%zz&a;b"}, answer: "200", app: "GET /%2e%2e//b%2F?y=%zz&a;b HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "P6 OPTIONS *", fields: []string{":method: OPTIONS", ":path: *"}, answer: "200", app: "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "P6 CONNECT", fields: []string{":method: CONNECT", ":path: -", ":scheme: -"}, answer: "501"},
	{name: "P6 TRACE", fields: []string{":method: TRACE"}, answer: "501"},
	{name: "P6 the peers' path", fields: []string{":path: /x/../.well-known/pillion/%70eer/y"}, answer: "404"},
	{name: "9113 8.3.1 a relative path", fields: []string{":path: a"}, answer: "reset"},
	{name: "9113 8.3.1 an empty path", fields: []string{":path: "}, answer: "reset"},
	{name: "9113 8.3.1 a path with a space", fields: []string{":path: /a HTTP/1.1"}, answer: "400"},
	{name: "9113 8.3.1 a path with line ends", fields: []string{":path: /a HTTP/1.1\r\nX-Evil: 1\r\n\r\n"}, answer: "reset"},
	{name: "9113 8.3.1 a method with a space", fields: []string{":method: GET /evil"}, answer: "400"},
	{name: "9113 8.3.1 a method that is no token", fields: []string{":method: GE(T"}, answer: "400"},
	{name: "9113 8.3.1 a path with a DEL", fields: []string{":path: /a\x7fb"}, answer: "reset"},
	{name: "9113 8.3.1 a path with a tab", fields: []string{":path: /a\tb"}, answer: "reset"},
	{name: "9113 8.3.1 an authority with a line end", fields: []string{":authority: a\r\nX-Evil: 1"}, answer: "reset"},
	{name: "9113 8.3.1 another Host", fields: []string{"host: b"}, answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{name: "9113 8.2.1 a value with a line end", fields: []string{"x-a: 1\r\nX-Evil: 1"}, answer: "reset"},
	{name: "9113 8.2.1 a value with a NUL", fields: []string{"x-a: 1\x00"}, answer: "reset"},
	{name: "9113 8.2.1 a name with a colon", fields: []string{"x:a: 1"}, answer: "reset"},
	{name: "9113 8.2.1 a name in upper case", fields: []string{"X-A: 1"}, answer: "reset"},
	{name: "9113 8.2.1 a name with a line end", fields: []string{"x-a\r\nx-evil: 1"}, answer: "reset"},
	{name: "9113 8.2.2 Transfer-Encoding", fields: []string{":method: POST", "transfer-encoding: chunked"}, body: "0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", answer: "400"},
	{name: "9113 8.2.2 Upgrade", fields: []string{"upgrade: h2c"}, answer: "400"},
	{name: "9113 8.2.3 crumbs of cookies", fields: []string{"cookie: a=1", "cookie: b=2"}, answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; b=2\r\n\r\n"},
	{name: "9113 8.1.1 a length that is too long", fields: []string{":method: POST", "content-length: 9"}, body: "body", answer: "400"},
	{name: "9113 8.1.1 a length that is too short", fields: []string{":method: POST", "content-length: 2"}, body: "body", answer: "reset"},
	{name: "H1 our names in every spelling", fields: []string{"pillion-session: forged", "pillion_meta: forged", "pillion.auth: forged", "x-kept: 1"},
		answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n\r\n"},
	{name: "H1 aliases of the framing fields", fields: []string{"content_length: 50", "transfer_encoding: chunked", "x-kept: 1"},
		answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n\r\n"},
	{name: "H12 who asked", fields: []string{"x-forwarded-for: 6.6.6.6", "x_forwarded_for: 6.6.6.6", "forwarded: for=6.6.6.6", "x-kept: 1"},
		answer: "200", app: "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\n\r\n"},
	{name: "a body and trailers", fields: []string{":method: POST", "trailer: x-sum"}, body: "body", trailers: []string{"x-sum: 7"},
		answer: "200", app: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 7\r\n\r\n"},
	{name: "9110 6.5.1 trailers that would change the head", body: "body",
		fields:   []string{":method: POST", "trailer: pillion-session, pillion_meta, cookie, content_length, x-forwarded-for, x-kept"},
		trailers: []string{"pillion-session: forged", "pillion_meta: forged", "cookie: evil=1", "content_length: 9", "x-forwarded-for: 6.6.6.6", "x-kept: 8"},
		answer:   "200", app: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Kept\r\n\r\n4\r\nbody\r\n0\r\nX-Kept: 8\r\n\r\n"},
	{name: "9113 8.1 trailers that are pseudo-fields", fields: []string{":method: POST"}, body: "body", trailers: []string{":path: /evil"}, answer: "reset"},
	{name: "P3 a field too many", fields: slices.Repeat([]string{"x-a: 1"}, 70), answer: "431"},
	{name: "P3 a line too long", fields: []string{"x-a: " + strings.Repeat("a", 17000)}, answer: "431"},
}

// testRequestsHTTP2 runs them, each on a connection of its own, and a probe on another.
func testRequestsHTTP2(t *testing.T, build Build) {
	c := startCourt(t, build, nil)
	c.loose = true
	for _, q := range requestsHTTP2 {
		t.Run(q.name, func(t *testing.T) {
			w := row{request: q.app, partly: true}
			probe := c.say("", false, false)
			got, err := c.request2(q.fields, q.body, q.trailers)
			if err != nil || got != q.answer {
				t.Fatalf("the client gets %s (%v), want %s", got, err, q.answer)
			}
			if _, answer := c.get(strings.Fields(probe)[1]); answer != "ok" {
				t.Errorf("the next client gets %q", answer)
			}
			if !within(rowPatience, func() bool { return c.begun.Load() == c.ended.Load() }) {
				t.Error("the exchange does not end")
			}
			if err := c.judgeRequests(w); err != nil {
				t.Error(err)
			}
		})
	}
}

// request2 sends one request and returns what becomes of it.
func (c *court) request2(fields []string, body string, trailers []string) (string, error) {
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rowPatience))
	out := bufio.NewWriter(conn)
	framer := http2.NewFramer(out, conn)
	framer.AllowIllegalWrites = true
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	head := encode2(encoder, &block, slices.Concat([]string{":method: GET", ":scheme: http", ":authority: a", ":path: /"}, fields))
	_, err = out.WriteString(http2.ClientPreface)
	err = errors.Join(err, framer.WriteSettings())
	first := head[:min(len(head), 16<<10)]
	ends := body == "" && trailers == nil
	err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndHeaders: len(first) == len(head), EndStream: ends}))
	if len(first) < len(head) {
		err = errors.Join(err, framer.WriteContinuation(1, true, head[len(first):]))
	}
	if body != "" {
		err = errors.Join(err, framer.WriteData(1, trailers == nil, []byte(body)))
	}
	if trailers != nil {
		err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encode2(encoder, &block, trailers), EndHeaders: true, EndStream: true}))
	}
	if err = errors.Join(err, out.Flush()); err != nil {
		return "", err
	}
	return outcome2(framer)
}

// encode2 makes a header block of lines. A later pseudo-field takes the place of an earlier; "-" is none.
func encode2(encoder *hpack.Encoder, block *bytes.Buffer, lines []string) []byte {
	block.Reset()
	var fields []hpack.HeaderField
	for _, line := range lines {
		at := strings.Index(line[1:], ": ") + 1
		f := hpack.HeaderField{Name: line[:at], Value: line[at+2:]}
		same := func(g hpack.HeaderField) bool { return g.Name == f.Name && f.Name[0] == ':' }
		if i := slices.IndexFunc(fields, same); i >= 0 {
			fields[i] = f
		} else {
			fields = append(fields, f)
		}
	}
	for _, f := range fields {
		if f.Value != "-" {
			_ = encoder.WriteField(f) // into memory
		}
	}
	return block.Bytes()
}

// outcome2 reads until the stream has an answer or is reset.
func outcome2(framer *http2.Framer) (string, error) {
	status := ""
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status, fmt.Errorf("no end of the answer: %w", err)
		}
		switch f := frame.(type) {
		case *http2.RSTStreamFrame:
			if status != "" && f.ErrCode == http2.ErrCodeNo {
				return status, nil // the rest of the request is not wanted
			}
			return "reset", nil
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return "reset", nil
			}
		case *http2.MetaHeadersFrame:
			status = f.PseudoValue("status")
			if f.StreamEnded() {
				return status, nil
			}
		case *http2.DataFrame:
			if f.StreamEnded() {
				return status, nil
			}
		}
	}
}
