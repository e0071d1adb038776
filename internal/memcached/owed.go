package memcached

import (
	"slices"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/pillion-proxy/pillion/internal/store"
)

// The end of a session, a logout's or a renewal's, must reach whoever still shows its id at any sidecar. A node that could not take it goes on with the
// living record, and a sidecar that knows nothing of this may ask that node alone. Two things prevent it: a poll that finds a node silent, and a note on
// the other nodes that an end is owed to it. Either makes its copies doubted: loads ask the others too.

const (
	// owedKey is the note about a node, beside its name. What it holds means nothing.
	owedKey = "p1:!owed:"
	// owedFor is how long a note stays after it was last left: a sidecar that dies before it has brought what it owes leaves that much time
	// for somebody to come across it.
	owedFor = 5 * time.Minute
	// noteAgain is how old a note gets before it is left again.
	noteAgain = time.Minute
	// doubtFor is how long a node is doubted after the poll that was the reason: what is owed to it is tried each second.
	doubtFor = 5 * time.Second
)

// doubt makes loads ask the other nodes too.
func (h *health) doubt() { h.doubted.Store(time.Now().Add(doubtFor).UnixNano()) }

// trusted tells whether a copy on the node may be believed without a look at the others.
func (h *health) trusted() bool {
	return h.state() == Up && time.Now().UnixNano() >= h.doubted.Load()
}

// unnoticed tells whether some sidecar may take the node for up that does not answer this one: it answers again, or fell silent just now.
func (h *health) unnoticed() bool {
	return h.failures.Load() == 0 || time.Now().UnixNano()-h.faltered.Load() < int64(store.Noticed)
}

// notes are what one node was told about others that lack an end.
type notes struct {
	mu   sync.Mutex
	left map[string]note // by the other's name
}

type note struct {
	life uint64 // generation of the life of the node that has it
	at   time.Time
}

// fresh tells whether the node's memory has the note.
func (t *notes) fresh(about string, life uint64, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.left[about]
	return n.life == life && now.Sub(n.at) < noteAgain
}

func (t *notes) noted(about string, n note) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == nil {
		t.left = map[string]note{}
	}
	t.left[about] = n
}

// leave tells the node that an end is owed to another one. It is no session's: a blind set does.
func (n *node) leave(about string) {
	l, now := n.now.Load(), time.Now()
	if n.notes.fresh(about, l.generation, now) {
		return
	}
	key := owedKey + about
	err := n.perform(l, opAdd, key, rare(func(c *memcache.Client) error {
		return c.Set(&memcache.Item{Key: key, Value: []byte{'-'}, Expiration: int32(owedFor / time.Second)})
	}))
	if err == nil {
		n.notes.noted(about, note{l.generation, now})
	}
}

// owing reads the notes that the node has about others.
func (n *node) owing(c *memcache.Client) error {
	members := n.s.fleet.Load().members
	var keys []string
	for _, other := range members {
		if other.name != n.name {
			keys = append(keys, owedKey+other.name)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	found, err := c.GetMulti(keys)
	for _, other := range members {
		if found[owedKey+other.name] != nil {
			other.doubt()
		}
	}
	return err
}

// note leaves notes about the nodes that lack what was written on those that have it.
func (sv *save) note() {
	sv.mu.Lock()
	lacking, acks := sv.lacking(), slices.Clone(sv.acks)
	sv.mu.Unlock()
	for _, n := range lacking {
		for _, a := range acks {
			a.node.leave(n.name)
		}
	}
}

// lacking are the nodes that have not acknowledged; sv.mu is held.
func (sv *save) lacking() []*node {
	return slices.DeleteFunc(slices.Clone(sv.fleet.members), func(n *node) bool {
		return slices.ContainsFunc(sv.acks, func(a ack) bool { return a.node == n })
	})
}
