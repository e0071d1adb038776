package memcached

import (
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/store"
)

const (
	// starvedBy is how late a timeout is noticed by a process that has too little CPU, not a node that is too slow.
	starvedBy = 50 * time.Millisecond
	triesMost = 3
	// inFlight bounds the operations that one node is asked to do at once, and so the memory that they take.
	inFlight = 128
	// alone bounds the large values that are written at once, each by a connection of its own.
	alone  = 16
	maxKey = 250
	// maxItem is the largest item sent. memcached's own limit is 1 MiB with its overhead; and it answers more than that by
	// deleting what is there.
	maxItem = 1<<20 - 1<<10
	// slotWait is how long an operation waits for others of this process to end. It is no measure of the node, whose own time begins
	// after it: a burst of requests is served late, but not refused as if the node did not answer.
	slotWait = time.Second
)

var (
	errDown    = errors.New("memcached: the node is down")
	errNewLife = errors.New("memcached: the node has a new life")
	errNoKey   = errors.New("memcached: no key, or none that memcached takes for one")
)

// node is one memcached of the ring: its connections, its lives and its health.
type node struct {
	name    string
	address string
	s       *Store
	slots   chan struct{} // one token for each operation in flight
	alone   chan struct{} // and one for each that writes a large value
	now     atomic.Pointer[life]
	meters  meters
	notes   notes
	health
}

// life is one lifetime of a node's memory with the connections that belong to it. A new life gets a new client, so that a CAS
// token, which is only ever used with the client that read it, cannot reach a life that numbers its items anew (M10).
type life struct {
	generation uint64               // no two lives of any node have the same
	mark       atomic.Pointer[mark] // nil before the first contact
	lines      lines                // for what is small and frequent
	client     *memcache.Client     // for the rest
}

func newNode(s *Store, name, address string) *node {
	n := &node{name: name, address: address, s: s, slots: make(chan struct{}, inFlight), alone: make(chan struct{}, alone), meters: newMeters(s.metrics, name)}
	n.health.init(time.Now())
	n.now.Store(n.newLife(nil))
	return n
}

func (n *node) newLife(m *mark) *life {
	l := &life{generation: n.s.generations.Add(1), client: memcache.NewFromSelector(&endpoint{n.address})}
	l.mark.Store(m)
	l.client.Timeout = n.s.opTimeout
	l.client.MaxIdleConns = alone
	l.client.DialContext = n.dialer(l)
	return l
}

// close ends the connections; one that is in use ends after its last operation.
func (n *node) close() {
	n.closed.Store(true)
	n.now.Load().drop()
}

// item is what a node answered to a get.
type item struct {
	hit   bool
	value []byte
	cas   uint64
	life  *life // the one it was read in
}

// get reads key; a miss is no error. A node that turns out to have a new life is asked again in that.
func (n *node) get(key string) (item, error) {
	c := n.s.calls.take(opGet, key)
	defer n.s.calls.give(c)
	err := n.perform(n.now.Load(), opGet, key, c)
	if errors.Is(err, errNewLife) {
		err = n.perform(n.now.Load(), opGet, key, c)
	}
	if errors.Is(err, memcache.ErrCacheMiss) {
		err = nil
	}
	return c.answer, err
}

// put writes value where it was read: by cas over a hit, by add after a miss, never by set. conflict tells that the node holds
// something else by now, or has a new life: read again.
func (n *node) put(read item, key string, value []byte, ttl int32) (conflict bool, err error) {
	l := read.life
	if l == nil { // nobody looked
		l = n.now.Load()
	}
	op := opAdd
	if read.hit {
		op = opCAS
	}
	if len(value) > largeValue {
		err = n.putAlone(l, op, &memcache.Item{Key: key, Value: value, Expiration: ttl, CasID: read.cas})
	} else {
		c := n.s.calls.take(op, key)
		defer n.s.calls.give(c)
		c.value, c.ttl, c.token = value, ttl, read.cas
		err = n.perform(l, op, key, c)
	}
	switch {
	case errors.Is(err, memcache.ErrCASConflict), errors.Is(err, memcache.ErrNotStored),
		errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, errNewLife):
		return true, nil
	}
	return false, err
}

// putAlone writes a large value by a connection of its own, so that small ones need not wait for it.
func (n *node) putAlone(l *life, op operation, it *memcache.Item) error {
	if !enter(n.alone) {
		return store.ErrBusy
	}
	defer leave(n.alone)
	return n.perform(l, op, it.Key, rare(func(c *memcache.Client) error {
		if op == opCAS {
			return c.CompareAndSwap(it)
		}
		return c.Add(it)
	}))
}

// perform does one operation of a request: none on a node that is down, and never one with a key that memcached would read as something
// else; after an empty one it reads the value as a command (M1).
func (n *node) perform(l *life, op operation, key string, a asking) error {
	switch {
	case !legal(key):
		return errNoKey
	case n.down.Load():
		return errDown
	}
	return n.attempt(l, op, a)
}

func legal(key string) bool {
	return key != "" && len(key) <= maxKey && !strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// attempt does one operation.
func (n *node) attempt(l *life, op operation, a asking) error {
	up := !n.down.Load()
	if !enter(n.slots) {
		return store.ErrBusy
	}
	defer leave(n.slots)
	if up && n.down.Load() {
		return errDown // it fell while this one waited
	}
	start := time.Now()
	return n.settle(l, op, a, start, a.ask(l))
}

// settle takes the first answer to an operation, and asks again where that says nothing of the node: after a restart each connection
// that was open fails once; one may have been given up because of another operation; and a timeout that was noticed much later than it fell
// due is this process's, which got no time to look. All of it is safe for writes because add and cas that were done answer a repetition
// with a conflict.
func (n *node) settle(l *life, op operation, a asking, start time.Time, err error) error {
	fresh := false
	for range triesMost {
		switch {
		case stale(err) && !fresh:
			l.client.Close()
			fresh = true
		case errors.Is(err, errCut):
		case resultOf(err) == timeout && time.Since(start) > n.s.opTimeout+starvedBy:
			start = time.Now()
		default:
			return n.settled(l, op, start, err)
		}
		err = a.ask(l)
	}
	return n.settled(l, op, start, err)
}

func (n *node) settled(l *life, op operation, start time.Time, err error) error {
	if n.now.Load() != l || n.closed.Load() {
		l.drop() // the connection may have been made when nobody needed it any more
	}
	now := time.Now()
	n.meters.observe(op, resultOf(err), now.Sub(start))
	n.report(err, start, now)
	return err
}

// enter takes a slot, unless there is none for too long.
func enter(slots chan struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

func leave(slots chan struct{}) { <-slots }

// crowded tells whether an operation would have to wait for others now.
func (n *node) crowded() bool { return len(n.slots) == cap(n.slots) }

// endpoint is a selector of one address. It hands out the configured text, so that each dial resolves the name anew.
type endpoint struct{ address string }

func (e *endpoint) PickServer(string) (net.Addr, error) { return e, nil }
func (e *endpoint) Each(f func(net.Addr) error) error   { return f(e) }
func (e *endpoint) Network() string                     { return "memcached" }
func (e *endpoint) String() string                      { return e.address }
