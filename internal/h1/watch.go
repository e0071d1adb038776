package h1

import (
	"errors"
	"io"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

const (
	// watchAfter is how long an exchange lasts before somebody looks whether the client still waits for it.
	watchAfter = 200 * time.Millisecond
	// halfClosed is how long a client that has ended its direction may wait for its answer. It looks like one that has left, and most have:
	// only what is sent to it would tell. With watchAfter it is less than another request of the same visitor waits for a lock.
	halfClosed = 500 * time.Millisecond
)

// watch reads from a client while its exchange goes on, to notice when it leaves. What it reads is the next request.
type watch struct {
	stop, done chan struct{}
}

// startWatch is the sweeper's; its lock is held.
func (c *conn) startWatch() {
	c.watch = &watch{make(chan struct{}), make(chan struct{})}
	go c.watch.run(c, c.x)
}

func (w *watch) run(c *conn, x *exchange) {
	defer close(w.done)
	for x.in.len() < chunkSize/2 { // one that sends so much ahead is not watched
		err := x.in.fill(c.nc)
		switch {
		case err == nil:
			continue
		case errors.Is(err, io.EOF) && c.app.Load() != nil: // else nothing has begun that would be lost
			timer := time.NewTimer(halfClosed)
			defer timer.Stop()
			select {
			case <-w.stop:
				return
			case <-timer.C:
			}
		case w.stopped():
			return
		}
		x.abort(head.ErrClientGone)
		return
	}
}

func (w *watch) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// unwatch moves to a step in which no watch begins and ends the one that there is: from now on the client is this goroutine's to read.
func (c *conn) unwatch(next phase) {
	c.to(next)
	if c.marks&watched == 0 {
		return
	}
	c.engine.sweeper.Lock()
	w := c.watch
	c.watch = nil
	c.engine.sweeper.Unlock()
	c.marks &^= watched
	close(w.stop)
	_ = c.nc.SetReadDeadline(pastDeadline)
	<-w.done
	if c.x.isAborted() == nil {
		_ = c.nc.SetReadDeadline(zeroTime)
	}
}
