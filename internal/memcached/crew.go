package memcached

import (
	"sync"
	"sync/atomic"
)

// idleMost is how many idle goroutines a crew keeps: as many as may be waiting for one node.
const idleMost = inFlight

// crew are goroutines that work for a store again and again. One that is new has a small stack, and spends more time on making it larger,
// step by step, than on anything else that a write does.
type crew struct {
	sync.WaitGroup // work under way
	work           chan func()
	ended          chan struct{}
	once           sync.Once
	idle           atomic.Int32
}

func newCrew() *crew { return &crew{work: make(chan func()), ended: make(chan struct{})} }

// Go lets one that is idle do the work, or a new one.
func (c *crew) Go(work func()) {
	c.Add(1)
	select {
	case c.work <- work:
	default:
		go c.join(work)
	}
}

func (c *crew) join(work func()) {
	for {
		work()
		work = nil
		c.Done()
		if c.idle.Add(1) > idleMost {
			c.idle.Add(-1)
			return
		}
		select {
		case work = <-c.work:
			c.idle.Add(-1)
		case <-c.ended:
			return
		}
	}
}

// end waits for the work under way, after which there is no more.
func (c *crew) end() {
	c.Wait()
	c.once.Do(func() { close(c.ended) })
}
