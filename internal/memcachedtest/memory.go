package memcachedtest

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxShards    = 16
	itemOverhead = 59 // memcached's header, CAS id, and the ends of key and value
	flagOverhead = 4  // what flags other than 0 take
)

// item is one entry of the cache. Its data is never changed, only replaced, so that it can be sent without a lock.
type item struct {
	key        string
	data       []byte
	flags      uint32
	cas        uint64
	expires    int64 // Unix second, 0 for never
	used       int64 // Unix second of the last use
	fetched    bool
	prev, next *item
}

func (it *item) size() int { return sizeOf(it.key, it.flags, len(it.data)) }

func sizeOf(key string, flags uint32, length int) int {
	size := len(key) + length + itemOverhead
	if flags != 0 {
		size += flagOverhead
	}
	return size
}

// memory is what one life of a server remembers.
type memory struct {
	now     func() time.Time
	born    time.Time
	shards  []shard
	maxItem int
	limit   int           // bytes of one shard
	tokens  atomic.Uint64 // the last CAS id given
	flushed atomic.Int64  // items last used up to this second are gone once it has come
	stats   stats
}

// shard is a part of the keys with their least-recently-used order. root.next is the item used last.
type shard struct {
	mu    sync.Mutex
	items map[string]*item
	root  item
	bytes int
}

// newMemory makes as many shards as can each hold a few of the largest items.
func newMemory(opts Options) *memory {
	n := min(max(opts.MaxBytes/opts.MaxItem/4, 1), maxShards)
	m := &memory{now: opts.Now, born: opts.Now(), shards: make([]shard, n), maxItem: opts.MaxItem, limit: opts.MaxBytes / n}
	for i := range m.shards {
		s := &m.shards[i]
		s.items = map[string]*item{}
		s.root.prev, s.root.next = &s.root, &s.root
	}
	return m
}

// in returns the locked shard of a key, by 32-bit FNV-1a: the same in each run, so that a simulation can be repeated.
func in[K string | []byte](m *memory, key K) *shard {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	s := &m.shards[h%uint32(len(m.shards))]
	s.mu.Lock()
	return s
}

// second is the time as memcached counts it.
func (m *memory) second() int64 { return m.now().Unix() }

// expiry turns an exptime into a Unix second: 0 never, negative at once, up to 30 days from now on, and a date above that (M9).
func expiry(exptime int32, now int64) int64 {
	const month = 30 * 24 * 60 * 60
	switch {
	case exptime == 0:
		return 0
	case exptime < 0:
		return 1
	case exptime > month:
		return int64(exptime)
	}
	return now + int64(exptime)
}

// find returns a living item, and removes one that is dead.
func (m *memory) find(s *shard, key string, now int64) *item {
	it := s.items[key]
	if it != nil && m.dead(it, now) {
		s.unlink(it)
		return nil
	}
	return it
}

func (m *memory) dead(it *item, now int64) bool {
	flushed := m.flushed.Load()
	return it.expires != 0 && it.expires <= now || it.used <= flushed && flushed <= now
}

// link makes it the newest item of its key, evicting the least recently used ones where room is needed.
func (m *memory) link(s *shard, it *item, now int64) {
	if old := s.items[it.key]; old != nil {
		s.unlink(old)
	}
	it.cas = m.tokens.Add(1)
	it.used = now
	s.items[it.key] = it
	s.bytes += it.size()
	s.front(it)
	for s.bytes > m.limit {
		last := s.root.prev
		if !m.dead(last, now) {
			m.stats.evictions.Add(1)
		}
		s.unlink(last)
	}
}

func (s *shard) unlink(it *item) {
	delete(s.items, it.key)
	s.bytes -= it.size()
	it.prev.next, it.next.prev = it.next, it.prev
}

func (s *shard) front(it *item) {
	it.prev, it.next = &s.root, s.root.next
	it.prev.next, it.next.prev = it, it
}

// bump notes a use.
func (s *shard) bump(it *item, now int64) {
	it.used = now
	it.prev.next, it.next.prev = it.next, it.prev
	s.front(it)
}
