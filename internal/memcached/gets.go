package memcached

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/store"
)

// Most of what a small read costs, here and on the node, is its system calls and wake-ups. So of the reads of one node only a few are under
// way at once; those that come meanwhile go out together, in one gets, as soon as one of these has ended. A node that few ask is asked as
// before, and one that takes long to answer does not hold up those that have not asked it yet.
const (
	// reading is how many reads are under way before others wait: two, so that who waits does so for a part of a round trip.
	reading = 2
	// readMost is how many keys are asked for at once: a line of 32 is less than the 2 KiB that memcached reads without ado.
	readMost = 32
	// waitMost is how many wait at most; the next ones go alone, and are refused when there are too many of these.
	waitMost = 4 * reading * readMost
	// readPatience is the part of the operation timeout after which nobody joins those who wait for a read: the node may be silent.
	readPatience = 10
)

// gets are the reads of one node that are under way, and those that wait for them.
type gets struct {
	mu      sync.Mutex
	begun   [reading]time.Time // zero: free
	waiting []*question
}

// question is a read that waits.
type question struct {
	key      string
	answered chan turn // takes one
}

// turn is what the wait was for: the answer, or its own turn to ask, for all of batch.
type turn struct {
	item
	err   error
	lane  int
	batch []*question
}

// noAnswer tells whether the node, or the way to it, has nothing to say to anybody else who asked meanwhile either.
func noAnswer(err error) bool {
	return err != nil && (errors.Is(err, store.ErrBusy) || errors.Is(err, errDown) || resultOf(err) == timeout || resultOf(err) == refused)
}

// enter gives a read a free lane, or a place among those that wait, or neither: then it goes alone.
func (g *gets) enter(key string, patience time.Duration) (lane int, q *question) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if lane = slices.IndexFunc(g.begun[:], time.Time.IsZero); lane >= 0 {
		g.begun[lane] = now
		return lane, nil
	}
	late := func(begun time.Time) bool { return now.Sub(begun) > patience }
	if len(g.waiting) >= waitMost || slices.ContainsFunc(g.begun[:], late) {
		return -1, nil
	}
	q = &question{key: key, answered: make(chan turn, 1)}
	g.waiting = append(g.waiting, q)
	return -1, q
}

// leave ends a read. The first of those that wait goes on, for all of them. Where no answer came, the last to leave tells them: they have
// waited as long as they would have for their own.
func (g *gets) leave(lane int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begun[lane] = time.Time{}
	switch {
	case len(g.waiting) == 0:
	case !noAnswer(err):
		n := min(len(g.waiting), readMost)
		batch := slices.Clone(g.waiting[:n])
		g.waiting = slices.Delete(g.waiting, 0, n)
		g.begun[lane] = time.Now()
		batch[0].answered <- turn{lane: lane, batch: batch}
	case !slices.ContainsFunc(g.begun[:], func(begun time.Time) bool { return !begun.IsZero() }):
		for _, q := range g.waiting {
			q.answered <- turn{err: err}
		}
		g.waiting = nil
	}
}

// get reads key; a miss is no error.
func (n *node) get(key string) (item, error) {
	if key == "" {
		return item{}, errNoKey
	}
	lane, q := n.gets.enter(key, n.s.opTimeout/readPatience)
	var batch []*question
	if q != nil {
		t := <-q.answered
		if t.batch == nil && t.err != nil && !noAnswer(t.err) { // no fault of this read, perhaps
			return n.getOne(key)
		}
		if t.batch == nil {
			return t.item, t.err
		}
		lane, batch = t.lane, t.batch
	}
	if len(batch) > 1 {
		return n.getMany(lane, batch)
	}
	it, err := n.getOne(key)
	if lane >= 0 {
		n.gets.leave(lane, err)
	}
	return it, err
}

// getMany reads what all of a batch ask for, and returns what its first does.
func (n *node) getMany(lane int, batch []*question) (item, error) {
	keys := make([]string, len(batch))
	for i, q := range batch {
		keys[i] = q.key
	}
	l, start := n.now.Load(), time.Now()
	var found map[string]*memcache.Item
	err := n.perform(l, opGet, keys[0], func(c *memcache.Client) (err error) {
		if found, err = c.GetMulti(keys); err == nil && found[keys[0]] == nil {
			err = memcache.ErrCacheMiss
		}
		return err
	})
	if errors.Is(err, memcache.ErrCacheMiss) {
		err = nil
	}
	for key := range found {
		if err == nil && !slices.Contains(keys, key) { // the connection is out of step (M5)
			l.client.Close()
			err = errForeign
		}
	}
	n.gets.leave(lane, err)
	for _, q := range batch[1:] {
		t := turn{err: err}
		if err == nil {
			t.item = itemOf(found[q.key], l)
		}
		if err == nil || noAnswer(err) {
			n.meters.observe(opGet, readResult(t), time.Since(start))
		}
		q.answered <- t
	}
	if err != nil && !noAnswer(err) {
		return n.getOne(keys[0])
	}
	if err != nil {
		return item{}, err
	}
	return itemOf(found[keys[0]], l), nil
}

func readResult(t turn) result {
	if t.err == nil && !t.hit {
		return missed
	}
	return resultOf(t.err)
}

// itemOf is what the node said in life l, nil for a miss.
func itemOf(it *memcache.Item, l *life) item {
	if it == nil {
		return item{life: l}
	}
	return item{hit: true, value: it.Value, cas: it.CasID, life: l}
}
