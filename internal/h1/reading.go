package h1

import (
	"io"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/socket"
)

// Between requests a connection has no buffers: it borrows an exchange when there is something to read.

// borrow makes sure that the connection has an exchange, ready for a head.
func (c *conn) borrow() *exchange {
	if c.x == nil {
		c.x = c.engine.exchanges.Get().(*exchange)
		c.x.c = c
		c.expectHead()
	}
	return c.x
}

// giveBack lends it to others. Nothing unread may be in it, or it is lost.
func (c *conn) giveBack() {
	x := c.x
	if x == nil {
		return
	}
	c.x = nil
	x.in.settle()
	x.in.r, x.in.w = x.in.kept, x.in.kept
	x.Exchange = head.Exchange{Close: x.Close, Lose: x.Lose}
	x.c, x.whole, x.upload = nil, nil, nil
	c.engine.exchanges.Put(x)
}

// expectHead makes the parser ready for a request.
func (c *conn) expectHead() {
	p, limits := &c.x.asked, c.engine.limits.Load()
	p.maxLines, p.maxBytes = limits.HeaderCount, limits.HeaderBytes
	p.reset(p.Fields)
}

// readHead waits for a request, in the step that says after what, and reads its head. It is false when the connection ends, or parks.
func (c *conn) readHead(from phase) bool {
	c.marks = 0
	if c.x != nil {
		c.x.in.settle()
		c.expectHead()
	}
	if c.x != nil && c.x.in.len() > 0 {
		c.to(reading)
	} else {
		c.to(from)
	}
	for {
		if x := c.x; x != nil && x.in.len() > 0 {
			done, refused := x.asked.parse(&x.in)
			switch {
			case refused == preface && from == fresh && c.tls == nil:
				return c.handOver()
			case refused != nil:
				return c.refuse(refused)
			case done:
				c.to(handling)
				return true
			}
		}
		if !c.readMore(from == parked) {
			return false
		}
	}
}

// begun tells whether something of a head is there.
func (c *conn) begun() bool { return c.x != nil && (c.x.in.len() > 0 || c.x.asked.started) }

// readMore reads more of a head, or its first bytes however long that takes.
func (c *conn) readMore(waited bool) bool {
	begun := c.begun()
	err := c.fill(waited && !begun)
	if begun {
		c.look()
	} else {
		c.to(reading)
	}
	if waited {
		c.engine.wake()
	}
	switch {
	case !c.found(parking | expired | ending):
		return err == nil
	case err == nil:
		_ = c.nc.SetReadDeadline(zeroTime)
		c.marks = 0
		return true
	case !isTimeout(err):
		return false
	case c.found(expired):
		_ = c.nc.SetReadDeadline(zeroTime)
		return begun && c.refuse(slowHead)
	case c.found(ending):
		return c.lastChance()
	}
	c.parks = true // a new goroutine goes on
	_ = c.nc.SetReadDeadline(zeroTime)
	c.giveBack()
	return false
}

// lastChance looks once more for a request on an idle connection that a shutdown ends.
func (c *conn) lastChance() bool {
	c.marks = 0
	_ = c.nc.SetReadDeadline(time.Now().Add(lastLook))
	err := c.fill(false)
	_ = c.nc.SetReadDeadline(zeroTime)
	c.linger = true
	return err == nil
}

// fill reads once. A socket borrows a buffer when it can be read; anything else needs one to wait with, or where it waits long a single byte.
func (c *conn) fill(long bool) error {
	switch {
	case c.socket != nil && c.tls == nil:
		c.readErr = nil
		if err := c.socket.Read(c.take); err != nil {
			return err
		}
		return c.readErr
	case long:
		first, err := c.awaitByte()
		if err != nil {
			return err
		}
		c.borrow().in.add(first)
		if len(first) > 0 {
			return nil
		}
	}
	return c.borrow().in.fill(c.nc)
}

// readSocket reads into a borrowed buffer. When there is nothing yet it is given back until there is.
func (c *conn) readSocket(fd uintptr) bool {
	in := &c.borrow().in
	in.makeRoom(leastRoom)
	n, again, err := socket.Read(fd, in.b[in.w:])
	switch {
	case again:
		if !c.begun() {
			c.giveBack()
		}
		return false
	case err == nil && n == 0:
		err = io.EOF
	case n > 0:
		in.w += n
	}
	c.readErr = err
	return true
}

// write writes to the client.
func (c *conn) write(b []byte) error {
	if c.socket == nil || c.tls != nil {
		_, err := c.nc.Write(b)
		return err
	}
	c.unwritten, c.writeErr = b, nil
	if err := c.socket.Write(c.give); err != nil {
		return err
	}
	return c.writeErr
}

// writeSocket writes what the socket takes, until it has taken everything.
func (c *conn) writeSocket(fd uintptr) (done bool) {
	for len(c.unwritten) > 0 && c.writeErr == nil {
		var n int
		if n, c.writeErr = socket.Write(fd, c.unwritten); n == 0 && c.writeErr == nil {
			return false
		}
		c.unwritten = c.unwritten[n:]
	}
	c.unwritten = nil
	return true
}

// awaitByte waits until there is something to read. Below TLS is a socket, which can be asked without reading from it.
func (c *conn) awaitByte() (first []byte, err error) {
	if c.socket != nil {
		return nil, c.socket.Read(func(fd uintptr) bool { return !socket.IsQuiet(fd) })
	}
	var one [1]byte
	n, err := c.nc.Read(one[:])
	return one[:n], err
}
