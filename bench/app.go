package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// app is the server behind the proxies. It does as little as an app can, answers every GET with the same page of 1 KB, and counts what it
// saw of sessions. /fill stores a session of 1 KB, /write changes one attribute of it.
type app struct {
	listener net.Listener
	fill     string // the patch that makes the session
	requests atomic.Int64
	sessions atomic.Int64 // requests that carried a session with attributes
	bytes    atomic.Int64 // of those sessions
}

const (
	readPath  = "/"
	fillPath  = "/fill"
	writePath = "/write"
)

var page = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n%s\r\n" + strings.Repeat("<p>page", 1024)[:1024]

// readAnswer is the answer without instructions, made once.
var readAnswer = fmt.Appendf(nil, page, "")

func newApp() (*app, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &app{listener: l, fill: string(sessioncodec.AppendObject(nil, session(1<<10)))}
	go a.serve()
	return a, nil
}

func (a *app) address() string { return a.listener.Addr().String() }

func (a *app) serve() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go a.converse(c)
	}
}

// converse answers the requests of one connection. They have no bodies.
func (a *app) converse(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 32<<10)
	for have := 0; ; {
		end := bytes.Index(buf[:have], []byte("\r\n\r\n"))
		if end < 0 {
			n, err := c.Read(buf[have:])
			if err != nil || n == 0 {
				return
			}
			have += n
			continue
		}
		answer := a.answer(buf[:end])
		have = copy(buf, buf[end+4:have])
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

func (a *app) answer(head []byte) []byte {
	n := a.requests.Add(1)
	_, session, _ := bytes.Cut(head, []byte("\r\nPillion-Session: "))
	session, _, _ = bytes.Cut(session, []byte("\r"))
	if len(session) > len("{}") {
		a.sessions.Add(1)
		a.bytes.Add(int64(len(session)))
	}
	switch {
	case bytes.HasPrefix(head, []byte("GET "+writePath)):
		return fmt.Appendf(nil, page, fmt.Sprintf("Pillion-Patch: {\"n\":%d}\r\n", n))
	case bytes.HasPrefix(head, []byte("GET "+fillPath)):
		return fmt.Appendf(nil, page, "Pillion-Patch: "+a.fill+"\r\n")
	}
	return readAnswer
}

// seen is what the app counted up to a moment.
type seen struct{ requests, sessions, bytes int64 }

func (a *app) seen() seen { return seen{a.requests.Load(), a.sessions.Load(), a.bytes.Load()} }

func (s seen) since(before seen) seen {
	return seen{s.requests - before.requests, s.sessions - before.sessions, s.bytes - before.bytes}
}

func (s seen) plus(more seen) seen {
	return seen{s.requests + more.requests, s.sessions + more.sessions, s.bytes + more.bytes}
}
