package main

import (
	"bytes"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// pageApp is the server behind the candidates, in the process of bench, which is in nobody's figures. It does as little as an app can, answers every
// GET with the same page of 1 KB, and counts what it saw of sessions. /fill stores a session of 1 KB, /write changes one attribute of it.
type pageApp struct {
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

const pageHead = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n"

var pageBody = strings.Repeat("<p>page", 1024)[:1024]

// readAnswer is the answer without instructions, made once.
var readAnswer = []byte(pageHead + "\r\n" + pageBody)

// newApp listens on network "tcp" or "unix"; a path is needed for the latter.
func newApp(network, address string) (*pageApp, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	a := &pageApp{listener: l, fill: string(sessioncodec.AppendObject(nil, session(1<<10)))}
	go a.serve()
	return a, nil
}

// newLoopbackApp listens on a free port.
func newLoopbackApp() (*pageApp, error) { return newApp("tcp", "127.0.0.1:0") }

func (a *pageApp) address() string { return a.listener.Addr().String() }

// upstream is the address as the setting of a sidecar.
func (a *pageApp) upstream() string {
	if a.listener.Addr().Network() == "unix" {
		return "unix:" + a.address()
	}
	return "http://" + a.address()
}

func (a *pageApp) serve() {
	for {
		c, err := a.listener.Accept()
		if err != nil {
			return
		}
		go a.converse(c)
	}
}

// converse answers the requests of one connection. They have no bodies.
func (a *pageApp) converse(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 32<<10)
	var answer []byte
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
		answer = a.answer(answer[:0], buf[:end])
		have = copy(buf, buf[end+4:have])
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// answer appends the answer to a request.
func (a *pageApp) answer(to, head []byte) []byte {
	n := a.requests.Add(1)
	_, session, _ := bytes.Cut(head, []byte("\r\nPillion-Session: "))
	session, _, _ = bytes.Cut(session, []byte("\r"))
	if len(session) > len("{}") {
		a.sessions.Add(1)
		a.bytes.Add(int64(len(session)))
	}
	switch {
	case bytes.HasPrefix(head, []byte("GET "+writePath)):
		to = append(append(to, pageHead...), `Pillion-Patch: {"n":`...)
		to = append(strconv.AppendInt(to, n, 10), '}')
	case bytes.HasPrefix(head, []byte("GET "+fillPath)):
		to = append(append(append(to, pageHead...), "Pillion-Patch: "...), a.fill...)
	default:
		return append(to, readAnswer...)
	}
	return append(append(to, "\r\n\r\n"...), pageBody...)
}

// seen is what an app counted up to a moment.
type seen struct{ requests, sessions, bytes int64 }

func (a *pageApp) counted() seen { return seen{a.requests.Load(), a.sessions.Load(), a.bytes.Load()} }

func (a *pageApp) seen() (seen, error) { return a.counted(), nil }

func (s seen) since(before seen) seen {
	return seen{s.requests - before.requests, s.sessions - before.sessions, s.bytes - before.bytes}
}

func (s seen) plus(more seen) seen {
	return seen{s.requests + more.requests, s.sessions + more.sessions, s.bytes + more.bytes}
}
