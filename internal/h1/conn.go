package h1

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/socket"
)

const (
	// lingers is how long a connection that we close may still bring bytes that nobody reads. Closing it with those unread would reset it, and
	// the client might lose the answer (RFC 9112, section 9.6).
	lingers = time.Second
	// lastLook is how long an idle connection has at a shutdown to show a request that is already on its way.
	lastLook = 5 * time.Millisecond
)

var (
	slowHead = head.Fail(http.StatusRequestTimeout, head.RequestRefused, "request head took too long")
	slowBody = head.Fail(http.StatusRequestTimeout, head.RequestRefused, "request body took too long")
)

// conn is a client's connection, with a goroutine of its own. While it waits for a request it has little else.
type conn struct {
	engine   *Engine
	raw      net.Conn        // as it was accepted
	socket   syscall.RawConn // of raw; nil where there is none
	nc       net.Conn        // as it is read and written, which may be TLS over raw
	tls      *tls.ConnectionState
	remote   netip.AddrPort
	remoteIP string
	index    int // in Engine.conns

	x         *exchange             // nil while nothing of a request is there
	take      func(fd uintptr) bool // readSocket, made once
	readErr   error                 // of that
	give      func(fd uintptr) bool // writeSocket, made once
	unwritten []byte                // for that
	writeErr  error
	step      step
	bodyStep  step  // of an upload
	marks     phase // found since the exchange began
	uploading atomic.Bool
	watch     *watch
	app       atomic.Pointer[upstream] // of the exchange
	until     atomic.Int64             // when the time of the exchange is over, 0 for never
	tunnel    atomic.Pointer[tunnelled]

	parks  bool // another goroutine goes on
	handed bool // to the engine of HTTP/2
	linger bool // some of what the client sends may be on its way
	reset  bool // nothing but a reset tells the client that its answer is not whole
}

// serve is the connection's goroutine. One that waits for long is taken over by another one, whose stack is small: one that has grown to
// serve a request never gets that small again, and would be most of what an idle connection costs.
func (c *conn) serve(waits bool) {
	defer c.end()
	from := parked
	if !waits {
		from = fresh
		c.to(fresh)
		if !c.open() {
			return
		}
	}
	for c.readHead(from) && c.exchange() {
		from = idle
	}
}

// end closes the connection, unless it is given to another engine or goroutine. A panic ends it alone.
func (c *conn) end() {
	if panicked := recover(); panicked != nil {
		c.engine.options.Log.Error("panic in a connection", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
	}
	if c.parks {
		c.parks = false
		go c.serve(true)
		return
	}
	defer c.engine.running.Done()
	if !c.handed {
		c.close()
		c.engine.left()
	}
	c.engine.forget(c)
}

func (c *conn) close() {
	if c.linger && !c.reset {
		c.drainInput()
	}
	if t, ok := c.raw.(*net.TCPConn); ok && c.reset {
		_ = t.SetLinger(0)
	}
	_ = c.nc.Close()
	c.giveBack()
}

// drainInput ends our direction and waits for the client to end its own.
func (c *conn) drainInput() {
	c.to(closing)
	w, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || w.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(lingers))
	var sink [512]byte
	for read := 0; read < maxHead; {
		n, err := c.nc.Read(sink[:])
		if err != nil {
			return
		}
		read += n
	}
}

func (c *conn) to(p phase) { c.marks |= c.step.to(p, &c.engine.sweeper) }
func (c *conn) look()      { c.marks |= c.step.stay(&c.engine.sweeper) }

func (c *conn) found(m phase) bool { return c.marks&m != 0 }

// refuse answers what is no request, or none that anybody may see, and ends the connection.
func (c *conn) refuse(r *head.Reply) bool {
	x := c.x
	c.to(handling)
	if x.asked.Method == "" {
		x.asked.minor = 1 // in which everybody is answered who does not get so far as to say
	}
	x.begin()
	x.last, x.body.ended = true, true
	x.reply(r)
	c.unwatch(resting)
	c.linger = true
	return false
}

// exchange serves the request whose head was read, and tells whether another may follow.
func (c *conn) exchange() bool {
	x, e := c.x, c.engine
	if c.hasLeft() {
		return false
	}
	x.begin()
	if own := x.peer(); own != nil {
		return c.own(own)
	}
	if own := e.options.Own(x.Request.Method, x.Request.Target, e.draining.Load()); own != nil {
		return c.own(own)
	}
	e.options.SetForwarded(&x.Exchange)
	x.serve()
	return c.goesOn()
}

// hasLeft tells whether a client has ended its direction while the whole process stood still. It will hardly wait any more and would not
// learn what becomes of its request, which may already be repeated elsewhere: nothing is begun or kept for it.
func (c *conn) hasLeft() bool {
	return c.engine.stoodStill() && c.socket != nil && !c.uploading.Load() && c.hasEnded()
}

// hasEnded looks by Control: Read would wait for a watch that reads, which waits for the client, which waits for its answer.
func (c *conn) hasEnded() (ended bool) {
	_ = c.socket.Control(func(fd uintptr) { ended = socket.HasEnded(fd) })
	return ended
}

// own answers what is the engine's own business.
func (c *conn) own(r *head.Reply) bool {
	c.x.last = c.x.last || r.Token == head.RequestRefused
	c.x.reply(r)
	c.unwatch(resting)
	return c.goesOn()
}

// goesOn tells whether another request may follow.
func (c *conn) goesOn() bool {
	x := c.x
	if !x.last {
		c.keepFields()
		return true
	}
	c.linger = x.err == nil && (!x.asked.close || x.isUnread())
	return false
}

// keepFields takes the room that a Handler has made for more fields along.
func (c *conn) keepFields() {
	if fields := c.x.Request.Fields; cap(fields) > cap(c.x.asked.Fields) {
		c.x.asked.Fields = fields
	}
}

// open reads what comes before the first request: who the client is, and TLS.
func (c *conn) open() bool {
	if err := c.greet(); err != nil {
		if !errors.Is(err, net.ErrClosed) {
			c.engine.options.Log.Debug("connection refused", "client", c.remoteIP, "error", err)
		}
		return false
	}
	if c.tls != nil && c.tls.NegotiatedProtocol == "h2" {
		return c.handOver()
	}
	return true
}
