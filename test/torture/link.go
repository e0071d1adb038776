package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// link is a small TCP proxy before a node, which does to its answers what a bad network or a node that lies would do.
type link struct {
	net.Listener
	node    atomic.Pointer[string] // address
	manner  atomic.Pointer[manner]
	touched atomic.Int64 // answers that did not arrive as the node gave them

	mu      sync.Mutex
	foreign []byte // the value of some session, told to others by impostor
	whose   []byte // its key
}

// manner is what becomes of a piece of the node's answers; nil is to lose it and all that follows, an error ends the connection.
type manner func(l *link, answer []byte) ([]byte, error)

var errHungUp = errors.New("the link hangs up")

// newLink listens on loopback before node. It is honest at first.
func newLink(node string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{Listener: listener}
	l.lead(node)
	l.become(honest)
	go l.run()
	return l, nil
}

func (l *link) become(m manner) { l.manner.Store(&m) }

// lead sends new connections to another node; those that are open end with their next answer.
func (l *link) lead(node string) { l.node.Store(&node) }

// run ends when the listener is closed; the connections end with either side.
func (l *link) run() {
	for {
		client, err := l.Accept()
		if err != nil {
			return
		}
		to := l.node.Load()
		node, err := net.Dial("tcp", *to)
		if err != nil {
			_ = client.Close()
			continue
		}
		go l.pass(node, client, func(b []byte) ([]byte, error) { return b, nil })
		go l.pass(client, node, func(b []byte) ([]byte, error) {
			if l.node.Load() != to {
				return nil, errHungUp
			}
			return (*l.manner.Load())(l, b)
		})
	}
}

func (l *link) pass(to, from net.Conn, through func([]byte) ([]byte, error)) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		piece, err := through(buf[:n])
		if piece == nil && err == nil { // TCP loses nothing in between
			_, _ = io.Copy(io.Discard, from)
			return
		}
		if _, failed := to.Write(piece); failed != nil || err != nil {
			return
		}
	}
}

func honest(_ *link, answer []byte) ([]byte, error) { return answer, nil }

// slow is a long way; what arrives within ring.op_timeout counts.
func slow(_ *link, answer []byte) ([]byte, error) {
	time.Sleep(20 * time.Millisecond)
	return answer, nil
}

// late answers when nobody waits any more: what it confirms is done all the same.
func late(l *link, answer []byte) ([]byte, error) {
	l.touched.Add(1)
	time.Sleep(400 * time.Millisecond)
	return answer, nil
}

func silent(l *link, _ []byte) ([]byte, error) {
	l.touched.Add(1)
	return nil, nil
}

// half sends the first half of an answer and hangs up.
func half(l *link, answer []byte) ([]byte, error) {
	l.touched.Add(1)
	return answer[:len(answer)/2], errHungUp
}

// garbage speaks another protocol.
func garbage(l *link, answer []byte) ([]byte, error) {
	l.touched.Add(1)
	for i := range answer {
		answer[i] ^= 0x2a
	}
	return answer, nil
}

// toEach applies a lie to each answer of a piece, which has those to several readers.
func toEach(lie func(l *link, answer []byte) []byte) manner {
	return func(l *link, piece []byte) ([]byte, error) {
		var told []byte
		for n := memcachedtest.Message(piece); n > 0; n = memcachedtest.Message(piece) {
			told = append(told, lie(l, piece[:n:n])...)
			piece = piece[n:]
		}
		return append(told, piece...), nil
	}
}

// damage changes the last byte of each value, and leaves the protocol intact.
func damage(l *link, answer []byte) []byte {
	if head, value, ok := cutValue(answer); ok && len(value) > 16 {
		l.touched.Add(1)
		answer[len(head)+len(value)-1] ^= 1
	}
	return answer
}

// impostor gives each reader of a session the value of another session, under the key that was asked for. To that one itself it is honest:
// its own value of some time ago would be another lie, which nothing can tell from the truth.
func impostor(l *link, answer []byte) []byte {
	head, value, ok := cutValue(answer)
	if !ok || !bytes.Contains(head, []byte("p1:torture:")) || len(value) < 72 {
		return answer
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fields := bytes.Fields(head)
	if l.foreign == nil {
		l.foreign, l.whose = bytes.Clone(value), bytes.Clone(fields[1])
	}
	if bytes.Equal(l.whose, fields[1]) {
		return answer
	}
	l.touched.Add(1)
	fields[3] = strconv.AppendInt(nil, int64(len(l.foreign)), 10)
	out := append(bytes.Join(fields, []byte(" ")), "\r\n"...)
	out = append(out, l.foreign...)
	return append(out, answer[len(head)+len(value):]...)
}

// cutValue takes an answer that holds exactly one value apart: `VALUE key flags bytes cas` CR LF, and the bytes.
func cutValue(answer []byte) (head, value []byte, ok bool) {
	line, _, ok := bytes.Cut(answer, []byte("\r\n"))
	fields := bytes.Fields(line)
	if !ok || len(fields) < 4 || string(fields[0]) != "VALUE" || !bytes.HasSuffix(answer, []byte("\r\nEND\r\n")) {
		return nil, nil, false
	}
	n, err := strconv.Atoi(string(fields[3]))
	begin := len(line) + len("\r\n")
	if err != nil || len(answer) != begin+n+len("\r\nEND\r\n") {
		return nil, nil, false
	}
	return answer[:begin], answer[begin : begin+n], true
}
