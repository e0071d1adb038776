// Package cache keeps what is in use of many values, within a number of bytes.
//
// A hit takes a read lock of one shard in 64 and writes nothing that others write. What goes to make room is the longest unused of a few values
// that are looked at: near enough to the least recently used, without the list that every hit would have to change.
package cache

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	shards = 64
	sample = 8
)

// Cache maps keys to values of known sizes. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	limit  int64 // of a shard
	seed   maphash.Seed
	clock  atomic.Uint64 // counts what was put: the time by which values are old
	bytes  atomic.Int64
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu    sync.RWMutex
	all   map[K]*entry[V]
	bytes int64
}

type entry[V any] struct {
	value V
	size  int64
	used  atomic.Uint64
}

// New returns a cache for that many bytes; with none it keeps nothing.
func New[K comparable, V any](limit int64) *Cache[K, V] {
	c := &Cache[K, V]{limit: limit / shards, seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].all = map[K]*entry[V]{}
	}
	return c
}

func (c *Cache[K, V]) shard(key K) *shard[K, V] {
	return &c.shards[maphash.Comparable(c.seed, key)%shards]
}

// Get returns the value of key.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	sh := c.shard(key)
	sh.mu.RLock()
	e := sh.all[key]
	sh.mu.RUnlock()
	if e == nil {
		return value, false
	}
	if now := c.clock.Load(); e.used.Load() != now {
		e.used.Store(now)
	}
	return e.value, true
}

// Put makes value that of key; size is what it takes in memory. A value that needs more than a 64th of the cache is not kept.
func (c *Cache[K, V]) Put(key K, value V, size int64) {
	now := c.clock.Add(1)
	sh := c.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	before := sh.bytes
	sh.drop(key)
	if size <= c.limit {
		for sh.bytes+size > c.limit {
			sh.drop(sh.oldest())
		}
		e := &entry[V]{value: value, size: size}
		e.used.Store(now)
		sh.all[key] = e
		sh.bytes += size
	}
	c.bytes.Add(sh.bytes - before)
}

// Bytes is the sum of the sizes kept.
func (c *Cache[K, V]) Bytes() int64 { return c.bytes.Load() }

func (sh *shard[K, V]) drop(key K) {
	if e := sh.all[key]; e != nil {
		sh.bytes -= e.size
		delete(sh.all, key)
	}
}

// oldest is the key to drop next: a map is walked from a random place.
func (sh *shard[K, V]) oldest() (key K) {
	var oldest *entry[V]
	looked := 0
	for k, e := range sh.all {
		if oldest == nil || e.used.Load() < oldest.used.Load() {
			key, oldest = k, e
		}
		if looked++; looked == sample {
			break
		}
	}
	return key
}
