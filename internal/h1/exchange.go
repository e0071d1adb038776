package h1

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var (
	errBadBody   = errors.New("h1: the client's body is malformed or incomplete")
	errTimedOut  = errors.New("h1: the app took too long")
	errClosed    = errors.New("h1: the session of the exchange ended")
	errLost      = errors.New("h1: the Handler has given the answer up")
	errOver      = errors.New("h1: the exchange is over")
	errShutdown  = errors.New("h1: the engine shut down")
	errBadAnswer = errors.New("h1: the app's answer is malformed")
	errUpgrade   = errors.New("h1: the app switches to a protocol that was not offered")
)

// exchange is one request and its response, with all buffers that takes. It is used again for the next one, and lent to another connection
// while its own waits.
type exchange struct {
	head.Exchange
	c       *conn
	context *lazyContext

	asked  headParser // the request
	said   headParser // what the app answers
	in     buffer     // of the client
	from   buffer     // of the app
	shown  head.Head  // the head of a response as the Handler sees it
	out    []byte     // to the client
	sent   []byte     // to the app
	body   body       // of the request
	answer body       // of the response
	whole  []byte     // the request's body when all of it came with the head
	upload *upload    // its way to the app otherwise, once that has begun
	up     *upstream

	onSocket   func(fd uintptr) bool // sendAndRead, made once
	socketSent int
	socketErr  error

	waiting   bool   // the client waits to be asked for the body
	continued bool   // it was asked
	upgrade   string // the protocols the client offers to switch to
	announced string // trailers, by the request

	started time.Time
	status  int   // of the final head, 0 before it was written
	bytes   int64 // of the response's body
	last    bool  // nothing may follow on the client's connection
	err     error // why the client did not get the whole response

	aborted atomic.Pointer[error] // what ended the exchange from outside
	limit   time.Duration         // head.To.Timeout, once it is known
}

// another asks the Handler for another way.
type another func(*head.Exchange) (head.To, *head.Reply)

func (e *Engine) newExchange() *exchange {
	x := &exchange{context: &lazyContext{}, out: make([]byte, 0, 4<<10), sent: make([]byte, 0, 4<<10)}
	x.asked.Fields, x.said.Fields = make(head.Fields, 0, 32), make(head.Fields, 0, 32)
	x.said.answer, x.said.maxBytes = true, head.MaxResponseHeader
	x.body.buf, x.answer.buf = &x.in, &x.from
	x.body.from, x.answer.from = x.moreOfRequest, x.moreOfAnswer
	x.onSocket = x.sendAndRead
	x.Close = func() { x.abort(errClosed) }
	x.Lose = func() { x.c.lose() }
	return x
}

// begin makes a head that has arrived the exchange that a Handler sees.
func (x *exchange) begin() {
	c, p := x.c, &x.asked
	if c.engine.options.AccessLog {
		x.started = time.Now()
	}
	x.Context, x.Remote, x.RemoteIP, x.TLS, x.Session = x.context, c.remote, c.remoteIP, c.tls, nil
	x.upgrade, x.announced = "", ""
	if p.ends {
		if p.upgrade && p.minor > 0 { // RFC 9110, section 7.8
			x.upgrade = p.Fields.Upgrade()
		}
		if p.chunked {
			x.announced = trailersOf(p.Fields)
		}
		p.Fields.EndHop()
	}
	if p.expect != "" && p.minor == 0 {
		p.Fields.Del("Expect") // RFC 9110, section 10.1.1
	}
	x.Request = p.Head
	x.aborted.Store(nil)
	x.status, x.bytes, x.err, x.upload, x.whole = 0, 0, nil, nil, nil
	x.last = p.close || p.minor == 0 && !p.keep
	switch {
	case p.chunked:
		x.body.reset(byChunks, -1)
	case p.length >= 0:
		x.body.reset(byLength, p.length)
	default:
		x.body.reset(noBody, 0)
	}
	if p.length > 0 && int64(x.in.len()) >= p.length && p.expect == "" {
		x.whole = x.in.take(int(p.length))
		x.body.ended = true
	}
}

// isWhole tells whether the body is still here, all of it.
func (x *exchange) isWhole() bool {
	return x.body.kind == noBody || x.whole != nil || x.asked.length == 0
}

// serve takes the exchange to its end.
func (x *exchange) serve() {
	defer x.finish()
	e := x.c.engine
	to, reply := e.options.Handler.Request(&x.Exchange)
	for reply == nil {
		var again another
		if again, reply = x.try(to); again == nil {
			break
		}
		to, reply = again(&x.Exchange)
		x.c.look()
		x.c.marks &^= lost // that was another answer
	}
	if reply != nil {
		x.reply(reply)
	}
}

// finish ends the exchange whatever happened. It is deferred: a panic of the Handler becomes a 500, or cuts the response off when it has
// begun.
func (x *exchange) finish() {
	c := x.c
	if panicked := recover(); panicked != nil {
		c.engine.options.Log.Error("panic in an exchange", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		x.end(head.ErrTruncated)
		if x.status == 0 {
			x.err = nil
			x.recovered()
		}
	}
	x.releaseUpstream(false)
	c.unwatch(resting)
	x.unbound()
	if !x.aborted.CompareAndSwap(nil, &errOver) {
		x.closeAborted(*x.aborted.Load())
	}
	if x.err != nil {
		x.last = true
	}
	used := x.context.end()
	if c.engine.options.AccessLog {
		head.LogAccess(c.engine.options.Log, &x.Exchange, head.Outcome{Status: x.status, Bytes: x.bytes, Took: time.Since(x.started), Err: x.err})
	}
	c.engine.options.Handler.End(&x.Exchange, x.err)
	if used {
		x.context = &lazyContext{}
	} else {
		x.context.renew()
	}
}

// closeAborted ends the connection of an exchange that was ended from outside: nothing can be sent on it any more.
func (x *exchange) closeAborted(cause error) {
	if errors.Is(cause, errTimedOut) {
		return // the client has its 504
	}
	x.last = true
	if x.status == 0 {
		x.end(cause)
	}
}

// recovered answers after a panic, unless that panics too.
func (x *exchange) recovered() {
	defer func() {
		if recover() != nil {
			x.end(head.ErrTruncated)
		}
	}()
	x.reply(head.InternalError)
}

// end notes why the client does not get the whole response; the first reason counts.
func (x *exchange) end(err error) {
	if x.err == nil {
		x.err = err
	}
	x.last = true
}

// abort ends the exchange from outside, whatever it is waiting for. It never blocks.
func (x *exchange) abort(cause error) {
	if !x.aborted.CompareAndSwap(nil, &cause) {
		return
	}
	x.context.end()
	if up := x.c.app.Load(); up != nil {
		up.interrupt()
	}
	if !errors.Is(cause, errTimedOut) {
		_ = x.c.nc.SetDeadline(pastDeadline)
	}
}

// isAborted tells why, nil when it is not.
func (x *exchange) isAborted() error {
	if cause := x.aborted.Load(); cause != nil {
		return *cause
	}
	return nil
}

// holdUpstream makes up the one that abort and the sweeper interrupt. An abort that came just before is told.
func (x *exchange) holdUpstream(up *upstream) error {
	x.up = up
	x.c.app.Store(up)
	return x.isAborted()
}

// releaseUpstream lets the connection go, back to the pool if the next request may have it.
func (x *exchange) releaseUpstream(reusable bool) {
	up := x.up
	if up == nil {
		return
	}
	switch {
	case x.upload != nil:
		reusable = x.upload.join(x, up) && reusable
	case !x.body.ended: // the app waits for a body that its client held back
		reusable = false
	}
	x.up = nil
	x.c.app.Store(nil)
	x.from.settle()
	if reusable && x.from.len() == 0 && x.isAborted() == nil {
		x.c.engine.pool.put(up, x.c.engine.ticks.Load())
		return
	}
	x.from.r, x.from.w = x.from.kept, x.from.kept
	_ = up.nc.Close()
}

// bound lets head.To.Timeout run from the end of the request.
func (x *exchange) bound(limit time.Duration) {
	if limit > 0 && x.limit == 0 {
		if x.limit = limit; x.body.ended {
			x.c.until.Store(now() + int64(limit))
		}
	}
}

// unbound ends it. The sweeper may just be ending the exchange for it.
func (x *exchange) unbound() {
	if x.limit > 0 {
		x.limit = 0
		x.c.until.Store(0)
		x.c.engine.sweeper.Lock()
		x.c.engine.sweeper.Unlock() //nolint:staticcheck // it is over then
	}
}
