package sidecar

import (
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// aheadLimit is how far ahead of this machine's clock a stamp may be and still raise it. A node of the fleet whose clock is
// wrong must not drag the others along; its stamps are honoured all the same.
const aheadLimit = 5 * time.Minute

// farStep is the unit, in milliseconds, by which this clock reaches beyond a stamp that it does not follow: it gives its own time, a whole number of steps
// later. Just above that stamp two values could have one stamp, and the id of shared mode could not tell one change from another (ring.Mark).
const farStep = 60_000

// Clock is the hybrid clock of one process (K1): it never goes back, it never gives the same stamp twice, and it is raised by
// every stamp that is seen, so that a write is always newer than the value it replaces.
type Clock struct {
	writer uint64
	ahead  func() // counts stamps from clocks far ahead

	mu   sync.Mutex
	last uint64
}

// NewClock returns the clock of the process with that incarnation.
func NewClock(writer uint64, ahead func()) *Clock { return &Clock{writer: writer, ahead: ahead} }

// See raises the clock to the stamps of a record that was read.
func (c *Clock) See(r *sessioncodec.Record) {
	if r == nil {
		return
	}
	clock := max(r.MaxClock(), uint64(r.Created))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raise(clock)
}

// Next returns a new stamp, greater than over.
func (c *Clock) Next(over sessioncodec.Stamp) sessioncodec.Stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raise(over.Clock)
	c.last = max(c.last+1, uint64(time.Now().UnixMilli()))
	clock := c.last
	if over.Clock >= clock {
		clock += (over.Clock - clock + farStep) / farStep * farStep
	}
	return sessioncodec.Stamp{Clock: clock, Writer: c.writer}
}

// NextIn is Next for an entry of a record, which has none older than itself: where it was born under a clock far ahead, this clock does not follow.
func (c *Clock) NextIn(r *sessioncodec.Record, over sessioncodec.Stamp) sessioncodec.Stamp {
	over.Clock = max(over.Clock, uint64(r.Created))
	return c.Next(over)
}

func (c *Clock) raise(clock uint64) {
	if clock <= c.last {
		return
	}
	if clock > uint64(time.Now().Add(aheadLimit).UnixMilli()) {
		c.ahead()
		return
	}
	c.last = clock
}
