package memcached

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/store"
)

// Each sidecar has its own view of a node's health; that two views differ is harmless, because a load that misses asks further and
// copies are joined. So these are constants: none of them can lose a session.
const (
	pollEvery    = store.Noticed / 2      // reading of canary and notes while up: how late a flush_all is noticed; and an answer is waited for
	failuresDown = 3                      // timeouts or broken connections, one after the other, that take a node down; a refusal does at once
	probeEvery   = 500 * time.Millisecond // while down: until a node that came back is used again, sessions have a copy less
	knockEvery   = 20 * time.Millisecond  // while a node refuses: it may be back for another sidecar, which so has written there
	probeAgain   = 250 * time.Millisecond // between the two good probes that bring a node back
	suspectFor   = 30 * time.Second       // after a return its copies may be behind: loads ask the others too
)

// tideKey is written when a node comes back, for its number. What it holds means nothing.
const tideKey = "p1:!tide"

// State of a node as this process sees it.
type State string

// The states: a node that is up is used; a suspect one too, but loads ask the other copies as well; one that is down is left
// alone but for probes.
const (
	Up      State = "up"
	Suspect State = "suspect"
	Down    State = "down"
)

type health struct {
	mu       sync.Mutex   // guards changes of life and state, and lastErr
	lastErr  error        // of the last operation that failed since the last good one
	failures atomic.Int32 // in a row, that count
	failed   atomic.Int64 // when the last of them showed, Unix nanoseconds
	faltered atomic.Int64 // when the first of them began, Unix nanoseconds
	seen     atomic.Int64 // when it last answered, Unix nanoseconds; at first, when it was configured
	down     atomic.Bool
	soft     atomic.Bool   // down by failures in a row, not by a refusal
	wary     atomic.Int64  // until when it is suspect, Unix nanoseconds
	doubted  atomic.Int64  // until when it is doubted, Unix nanoseconds
	knocked  atomic.Int64  // when it was probed for somebody, after a refusal, Unix nanoseconds
	fell     atomic.Uint64 // the generation of the life in which it last went down
	tide     atomic.Uint64 // what it numbered its items up to when it came back; 0 is unknown
	news     atomic.Bool   // it has a new life or came back, and NewLife has not been told
	entered  time.Time     // when it came into a ring that is in use; never changed
	closed   atomic.Bool
	wake     chan struct{} // ends a pause of the watcher
}

func (h *health) init(now time.Time) {
	h.seen.Store(now.UnixNano())
	h.wake = make(chan struct{}, 1)
}

func (h *health) state() State {
	switch {
	case h.down.Load():
		return Down
	case time.Now().UnixNano() < h.wary.Load():
		return Suspect
	}
	return Up
}

func (h *health) suspect() { h.wary.Store(time.Now().Add(suspectFor).UnixNano()) }

// join is for a node that comes into a ring that is in use.
func (n *node) join() {
	n.fell.Store(n.now.Load().generation)
	n.entered = time.Now()
	n.suspect()
}

// isNew tells whether the node came into the ring so lately that other sidecars may not have heard of it.
func (n *node) isNew() bool { return time.Since(n.entered) < suspectFor }

func (h *health) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// downFor is how long ago the node last answered.
func (h *health) downFor() time.Duration { return time.Duration(time.Now().UnixNano() - h.seen.Load()) }

// report takes the result of each operation. Failures of operations that ran at the same time are one: a pause of 100 ms, of the node or
// of this machine, lets all of them fail together and is over.
func (n *node) report(err error, begun, ended time.Time) {
	result := resultOf(err)
	if result.answered() {
		n.seen.Store(ended.UnixNano())
		if n.failures.Load() != 0 {
			n.recovered()
		}
		return
	}
	n.mu.Lock()
	n.lastErr = err
	n.mu.Unlock()
	switch {
	case result == refused:
		if n.failures.CompareAndSwap(0, 1) {
			n.faltered.Store(begun.UnixNano())
		}
		n.fall(err, false)
	case result == renewed: // it answers, in another life
	case begun.UnixNano() < n.failed.Load():
	default:
		n.failed.Store(ended.UnixNano())
		failures := n.failures.Add(1)
		if failures == 1 {
			n.faltered.Store(begun.UnixNano())
		}
		if failures >= failuresDown {
			n.fall(err, true)
		}
	}
}

func (n *node) recovered() {
	n.failures.Store(0)
	n.mu.Lock()
	n.lastErr = nil
	n.mu.Unlock()
}

// fall takes the node down. A refusal is the node's own word. Silence may be our own network's, or everybody's: it counts only while
// another node answers. Otherwise each sidecar would keep another node for the one that is left, and they would write past each other
// when all are back.
func (n *node) fall(err error, soft bool) {
	n.s.falling.Lock()
	defer n.s.falling.Unlock()
	switch {
	case n.closed.Load():
		return
	case n.down.Load():
		if gone(err) {
			n.soft.Store(false) // it was silent; now it will not come back with what it had
		}
		return
	case soft && !n.hasWitness():
		n.s.acquit()
		return
	case soft && !n.s.mayFall():
		return
	}
	n.soft.Store(soft)
	n.fell.Store(n.now.Load().generation)
	n.tide.Store(0)
	n.down.Store(true)
	n.now.Load().drop()
	n.s.metrics.NodeUp.WithLabelValues(n.name).Set(0)
	n.s.log.Warn("memcached node is down", "node", n.name, "address", n.address, "error", err)
	n.rouse()
}

// hasWitness tells whether another node has answered since this one fell silent.
func (n *node) hasWitness() bool {
	for _, other := range n.s.fleet.Load().members {
		if other != n && !other.down.Load() && other.seen.Load() > n.faltered.Load() {
			return true
		}
	}
	return false
}

// acquit brings back what silence took down, when the last node is silent too; s.falling is held.
func (s *Store) acquit() {
	for _, n := range s.fleet.Load().members {
		if n.soft.Load() {
			n.rise()
		}
	}
}

// mayFall tells whether silence may take down one more node: not most of a larger ring, however many there are (fail-open).
func (s *Store) mayFall() bool {
	members := s.fleet.Load().members
	soft := 0
	for _, n := range members {
		if n.soft.Load() {
			soft++
		}
	}
	return soft < max(1, (len(members)-1)/2)
}

// rise brings the node back, suspect at first: others may have written elsewhere while it was away.
func (n *node) rise() {
	n.suspect()
	n.recovered()
	n.soft.Store(false)
	n.down.Store(false)
	n.news.Store(true)
	n.s.metrics.NodeUp.WithLabelValues(n.name).Set(1)
	n.s.log.Info("memcached node is back", "node", n.name)
}

// watch is the goroutine of one node.
func (n *node) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if n.down.Load() {
			n.recover(ctx)
		} else {
			n.poll()
		}
		if n.news.Swap(false) && n.s.newLife != nil {
			n.s.newLife(n.name)
		}
		if !n.down.Load() {
			n.pause(ctx, pollEvery, n.wake)
		}
	}
}

// poll looks at the canary and the notes of a node that is up.
func (n *node) poll() {
	err := n.look(opGet, n.owing)
	if r := resultOf(err); r == timeout || r == broken {
		n.doubt()
	}
}

// recover probes until the node answered twice in a row, or was acquitted.
func (n *node) recover(ctx context.Context) {
	for n.down.Load() && n.pause(ctx, n.s.jitter(probeEvery), nil) {
		if n.look(opTouch, touchMark) == nil && n.pause(ctx, probeAgain, nil) && n.look(opTouch, touchMark) == nil {
			n.gauge()
			n.rise()
			return
		}
	}
}

// revive probes a node that is down for somebody who cannot wait for the watcher, and tells whether it is up: one good probe brings it back. One
// that refused is not asked by each request.
func (n *node) revive() bool {
	if !n.down.Load() {
		return true
	}
	if last, now := n.knocked.Load(), time.Now().UnixNano(); !n.soft.Load() && (now-last < int64(knockEvery) || !n.knocked.CompareAndSwap(last, now)) {
		return false
	}
	if n.look(opTouch, touchMark) != nil {
		return false
	}
	if n.gauge(); n.down.Load() {
		n.rise()
	}
	return true
}

// gauge learns how far the node has numbered its items: what has a greater number was written after this. So a copy that it had all along is
// told from a new one, whatever the clocks of those that wrote them say.
func (n *node) gauge() {
	l := n.now.Load()
	_ = n.attempt(l, opGet, rare(func(c *memcache.Client) error {
		if err := c.Set(&memcache.Item{Key: tideKey, Value: []byte{'-'}, Expiration: int32(suspectFor / time.Second)}); err != nil {
			return err
		}
		it, err := c.Get(tideKey)
		if err == nil {
			n.tide.Store(it.CasID)
		}
		return err
	}))
}

// touchMark makes a look a probe: a node may read and not write.
func touchMark(c *memcache.Client) error { return c.Touch(markKey, 0) }

// look reads the canary of a node whether it is up or down, then does what else shall be done by that connection.
func (n *node) look(op operation, then func(*memcache.Client) error) error {
	for again := false; ; again = true {
		l := n.now.Load()
		var m mark
		err := n.attempt(l, op, rare(func(c *memcache.Client) (err error) {
			if m, err = n.readMark(c); err == nil && then != nil {
				err = then(c)
			}
			return err
		}))
		if resultOf(err) == renewed && !again {
			continue
		}
		if err == nil {
			n.adopt(l, m)
		}
		return err
	}
}

// pause waits for d, at most until wake; false when ctx ended.
func (n *node) pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-ctx.Done():
		return false
	}
	return true
}
