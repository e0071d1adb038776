package memcached

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/store"
)

const (
	// starvedBy is how late a timeout is noticed by a process that has too little CPU, not a node that is too slow.
	starvedBy    = 50 * time.Millisecond
	starvedTries = 2
	// inFlight bounds the operations that one node is asked to do at once, and so the connections to it: memcached's own limit (-c)
	// must be above the number of sidecars times this. Fewer idle than busy connections would be redialed all the time.
	inFlight = 64
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
	errNoKey   = errors.New("memcached: empty key")
	errForeign = errors.New("memcached: the node answered for another key")
)

// node is one memcached of the ring: its connections, its lives and its health.
type node struct {
	name    string
	address string
	s       *Store
	slots   chan struct{} // one token for each operation in flight
	now     atomic.Pointer[life]
	meters  meters
	gets    gets
	health
}

// life is one lifetime of a node's memory with the connections that belong to it. A new life gets a new client, so that a CAS
// token, which is only ever used with the client that read it, cannot reach a life that numbers its items anew (M10).
type life struct {
	generation uint64               // no two lives of any node have the same
	mark       atomic.Pointer[mark] // nil before the first contact
	client     *memcache.Client
}

func newNode(s *Store, name, address string) *node {
	n := &node{name: name, address: address, s: s, slots: make(chan struct{}, inFlight), meters: newMeters(s.metrics, name)}
	n.health.init(time.Now())
	n.now.Store(n.newLife(nil))
	return n
}

func (n *node) newLife(m *mark) *life {
	l := &life{generation: n.s.generations.Add(1), client: memcache.NewFromSelector(&endpoint{n.address})}
	l.mark.Store(m)
	l.client.Timeout = n.s.opTimeout
	l.client.MaxIdleConns = inFlight
	l.client.DialContext = n.dialer(l)
	return l
}

// close ends the idle connections; an operation in flight closes its own when it ends.
func (n *node) close() {
	n.closed.Store(true)
	n.now.Load().client.Close()
}

// item is what a node answered to a get.
type item struct {
	hit   bool
	value []byte
	cas   uint64
	life  *life // the one it was read in
}

// getOne reads key in an operation of its own. A node that turns out to have a new life is asked again in that.
func (n *node) getOne(key string) (item, error) {
	for again := false; ; again = true {
		l := n.now.Load()
		var it *memcache.Item
		err := n.perform(l, opGet, key, func(c *memcache.Client) (err error) {
			it, err = c.Get(key)
			return err
		})
		switch {
		case errors.Is(err, errNewLife) && !again:
			continue
		case errors.Is(err, memcache.ErrCacheMiss):
			return itemOf(nil, l), nil
		case err != nil:
			return item{}, err
		case it.Key != key: // the connection is out of step (M5)
			l.client.Close()
			return item{}, errForeign
		}
		return itemOf(it, l), nil
	}
}

// put writes value where it was read: by cas over a hit, by add after a miss, never by set. conflict tells that the node holds
// something else by now, or has a new life: read again.
func (n *node) put(read item, key string, value []byte, ttl int32) (conflict bool, err error) {
	it := &memcache.Item{Key: key, Value: value, Expiration: ttl, CasID: read.cas}
	if read.hit {
		err = n.perform(read.life, opCAS, key, func(c *memcache.Client) error { return c.CompareAndSwap(it) })
	} else {
		l := read.life
		if l == nil { // nobody looked
			l = n.now.Load()
		}
		err = n.perform(l, opAdd, key, func(c *memcache.Client) error { return c.Add(it) })
	}
	switch {
	case errors.Is(err, memcache.ErrCASConflict), errors.Is(err, memcache.ErrNotStored),
		errors.Is(err, memcache.ErrCacheMiss), errors.Is(err, errNewLife):
		return true, nil
	}
	return false, err
}

// perform does one operation of a request: none on a node that is down, and never one with an empty key, which gomemcache would
// send: memcached then reads the value as a command (M1).
func (n *node) perform(l *life, op operation, key string, do func(*memcache.Client) error) error {
	if key == "" {
		return errNoKey
	}
	if n.down.Load() {
		return errDown
	}
	return n.attempt(l, op, do)
}

// attempt does one operation. After a restart of the node each pooled connection fails once: the pool is dropped and the operation
// repeated on a fresh one. It is repeated, too, when a timeout was noticed much later than it fell due: then this process got no time to
// look, and the node may have answered long ago. Both are safe for writes because add and cas that were done answer a repetition with a
// conflict.
func (n *node) attempt(l *life, op operation, do func(*memcache.Client) error) error {
	up := !n.down.Load()
	if !n.enter() {
		return store.ErrBusy
	}
	defer n.leave()
	if up && n.down.Load() {
		return errDown // it fell while this one waited
	}
	start := time.Now()
	err := do(l.client)
	if stale(err) {
		l.client.Close()
		err = do(l.client)
	}
	for tries := 0; tries < starvedTries && resultOf(err) == timeout && time.Since(start) > n.s.opTimeout+starvedBy; tries++ {
		start = time.Now()
		err = do(l.client)
	}
	if n.now.Load() != l || n.closed.Load() {
		l.client.Close() // the connection was put back into a pool that nobody uses any more
	}
	n.meters.observe(op, resultOf(err), time.Since(start))
	n.report(err, start)
	return err
}

func (n *node) enter() bool {
	select {
	case n.slots <- struct{}{}:
		return true
	default:
	}
	timer := time.NewTimer(slotWait)
	defer timer.Stop()
	select {
	case n.slots <- struct{}{}:
		return true
	case <-timer.C:
		return false
	}
}

// crowded tells whether an operation would have to wait for others now.
func (n *node) crowded() bool { return len(n.slots) == cap(n.slots) }

func (n *node) leave() { <-n.slots }

// endpoint is a selector of one address. It hands out the configured text, so that each dial resolves the name anew.
type endpoint struct{ address string }

func (e *endpoint) PickServer(string) (net.Addr, error) { return e, nil }
func (e *endpoint) Each(f func(net.Addr) error) error   { return f(e) }
func (e *endpoint) Network() string                     { return "memcached" }
func (e *endpoint) String() string                      { return e.address }
