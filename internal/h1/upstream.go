package h1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/socket"
)

// upstream is a connection to the app.
type upstream struct {
	nc     net.Conn
	raw    syscall.RawConn // nil where there is no socket to look at
	app    app
	reused bool
	since  int64              // the tick in which it came to the pool
	quiet  bool               // what peek has seen
	peek   func(uintptr) bool // made once: it is called for every request
}

// app is an address of one, and a key of the pool.
type app struct{ network, address string }

// unreachableError is a failed dial: nothing of the request was sent.
type unreachableError struct{ error }

func (e *unreachableError) Error() string { return fmt.Sprintf("h1: dial the app: %v", e.error) }
func (e *unreachableError) Unwrap() error { return e.error }

// connect takes a connection to the app from the pool, or dials.
func (x *exchange) connect(to app, pooled bool) (*upstream, error) {
	e := x.c.engine
	for pooled {
		up := e.pool.take(to)
		if up == nil {
			break
		}
		if x.trusts(up) {
			up.reused = true
			return up, nil
		}
		_ = up.nc.Close()
	}
	nc, err := e.options.Dial(x.Context, to.network, to.address)
	if err != nil {
		return nil, &unreachableError{err}
	}
	return &upstream{nc: nc, raw: socket.Of(nc), app: to}, nil
}

// trusts tells whether a connection from the pool is good enough for the request. Its socket is looked at each time: an app that is about to
// close it must not cost a request that cannot be repeated (P7), and what it has said meanwhile would be one visitor's answer given to
// another. Where that cannot be seen, a request that may be sent twice finds out by being sent.
func (x *exchange) trusts(up *upstream) bool {
	if up.raw == nil {
		return x.repeatable()
	}
	return up.alive()
}

// repeatable tells whether the request may reach an app twice (RFC 9110, section 9.2.1), and could.
func (x *exchange) repeatable() bool {
	switch x.Request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return x.isWhole()
	}
	return false
}

// alive tells whether the app has neither closed the connection nor said something unasked on it: what follows on a connection must
// never be taken for the answer to the next request.
func (up *upstream) alive() bool {
	if up.peek == nil {
		up.peek = func(fd uintptr) bool {
			up.quiet = socket.IsQuiet(fd)
			return true
		}
	}
	return up.raw.Read(up.peek) == nil && up.quiet
}

// send writes the request. Where nothing is to follow it, it also waits for the first bytes of the answer: on a socket the write happens
// within the wait, so that there is no need to try a read before, in case the answer had come in between.
func (x *exchange) send(up *upstream) (sent int, err error) {
	x.socketSent, x.socketErr = 0, nil
	if up.raw != nil && x.body.ended {
		if err = up.raw.Read(x.onSocket); err == nil {
			err = x.socketErr
		}
		if err != nil || x.socketSent == len(x.sent) {
			return x.socketSent, err
		}
	}
	sent, err = up.nc.Write(x.sent[x.socketSent:])
	return x.socketSent + sent, err
}

// sendAndRead is what happens each time that send may try the socket.
func (x *exchange) sendAndRead(fd uintptr) (done bool) {
	if x.socketSent == 0 {
		x.socketSent, x.socketErr = socket.Write(fd, x.sent)
		return x.socketSent < len(x.sent) // the rest is written the common way
	}
	x.from.makeRoom(leastRoom)
	n, again, err := socket.Read(fd, x.from.b[x.from.w:])
	if again {
		return false
	}
	if n == 0 && err == nil {
		err = io.EOF
	}
	x.from.w += n
	x.socketErr = err
	return true
}

// Deadlines: one interrupts what is waiting on a connection, the other takes that back.
var (
	pastDeadline = time.Unix(1, 0)
	zeroTime     time.Time // no deadline
)

func (up *upstream) interrupt() { _ = up.nc.SetDeadline(pastDeadline) }

// replyTo maps what went wrong between us and the app to the answer.
func (x *exchange) replyTo(err error) *head.Reply {
	var dial *unreachableError
	switch {
	case errors.As(err, &dial):
		return head.Unreached
	case errors.Is(err, errBadBody):
		return head.BadBody
	case errors.Is(err, errSlowBody):
		return slowBody
	case errors.Is(err, errTimedOut):
		return head.TimedOut
	}
	return head.BadAnswer
}
