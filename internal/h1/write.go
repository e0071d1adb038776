package h1

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

var errLineEnds = errors.New("h1: the handler put a line end into a head")

// headWriter writes a head behind what is in out, and counts its lines.
type headWriter struct {
	out   []byte
	start int
	lines int
}

func write(out []byte) headWriter { return headWriter{out: out, start: len(out)} }

func (w *headWriter) field(name, value string) {
	w.out = appendField(w.out, name, value)
	w.lines++
}

// fields writes field lines; Content-Length is the engine's to say.
func (w *headWriter) fields(fields head.Fields) {
	for i := range fields {
		if name := fields[i].Name; !head.Same(name, "Content-Length") {
			w.field(name, fields[i].Value)
		}
	}
}

func (w *headWriter) length(n int64) {
	w.out = append(w.out, "Content-Length: "...)
	w.out = strconv.AppendInt(w.out, n, 10)
	w.out = append(w.out, "\r\n"...)
	w.lines++
}

// end ends the head. It has as many line ends as lines: what a Handler adds cannot add lines of its own.
func (w *headWriter) end() ([]byte, error) {
	w.out = append(w.out, "\r\n"...)
	written := w.out[w.start:]
	if bytes.Count(written, []byte{'\n'}) != w.lines+1 || bytes.Count(written, []byte{'\r'}) != w.lines+1 {
		return w.out[:w.start], errLineEnds
	}
	return w.out, nil
}

// request writes the request as the Handler left it.
func (w *headWriter) request(x *exchange) {
	r := &x.Request
	w.out = append(w.out, r.Method...)
	w.out = append(w.out, ' ')
	w.out = append(w.out, r.Target...)
	w.out = append(w.out, " HTTP/1.1\r\n"...)
	w.lines++
	if r.Authority == "" { // from HTTP/1.0; HTTP/1.1 wants one
		w.field("Host", "localhost")
	} else {
		w.field("Host", r.Authority)
	}
	w.fields(r.Fields)
	switch x.body.kind {
	case byLength:
		w.length(x.asked.length)
	case byChunks:
		w.field("Transfer-Encoding", "chunked")
		if x.announced != "" {
			w.field("Trailer", x.announced)
		}
	}
	if x.upgrade != "" {
		w.field("Connection", "Upgrade")
		w.field("Upgrade", x.upgrade)
	}
}

// status writes the first line of a response, in the version of the client's request.
func (w *headWriter) status(status int, minor byte) {
	if status < 0 || status >= len(statusLines) {
		status = http.StatusInternalServerError
	}
	at := len(w.out)
	w.out = append(w.out, statusLines[status]...)
	if minor == 0 {
		w.out[at+len("HTTP/1.")] = '0'
	}
	w.lines++
}

func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, "\r\n"...)
}

// trailersOf are the names that a message announces as trailers, without those that must not be any.
func trailersOf(fields head.Fields) string {
	if !fields.Has("Trailer") {
		return ""
	}
	var names head.Fields
	for _, list := range fields.Values("Trailer") {
		for name := range head.Items(list) {
			if all(name, isToken) {
				names.Add(name, "")
			}
		}
	}
	names.EndTrailer()
	var announced []string
	for _, f := range names {
		announced = append(announced, f.Name)
	}
	return strings.Join(announced, ", ")
}
