package memcachedtest

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// stats counts since the start of a life.
type stats struct {
	gets, getHits, getMisses        atomic.Uint64
	sets, items, evictions, flushes atomic.Uint64
	touches, touchHits, touchMisses atomic.Uint64
	deleteHits, deleteMisses        atomic.Uint64
	casHits, casMisses, casBadval   atomic.Uint64
	incrHits, incrMisses            atomic.Uint64
	decrHits, decrMisses            atomic.Uint64
	connections                     atomic.Int64
}

func (s *Server) current() *memory {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.memory
}

// Stats is the numbers of `stats`, under memcached's names.
func (s *Server) Stats() map[string]uint64 { return s.numbers(s.current()) }

func (s *Server) numbers(m *memory) map[string]uint64 {
	st := &m.stats
	now := m.now()
	n := map[string]uint64{
		"pid": uint64(os.Getpid()), "time": uint64(now.Unix()), "uptime": uint64(now.Sub(m.born).Seconds()),
		"pointer_size": strconv.IntSize, "threads": 1, "limit_maxbytes": uint64(s.opts.MaxBytes),
		"curr_connections": uint64(st.connections.Load()), "total_items": st.items.Load(),
		"cmd_get": st.gets.Load(), "get_hits": st.getHits.Load(), "get_misses": st.getMisses.Load(),
		"cmd_set": st.sets.Load(), "cmd_flush": st.flushes.Load(), "evictions": st.evictions.Load(),
		"cmd_touch": st.touches.Load(), "touch_hits": st.touchHits.Load(), "touch_misses": st.touchMisses.Load(),
		"delete_hits": st.deleteHits.Load(), "delete_misses": st.deleteMisses.Load(),
		"cas_hits": st.casHits.Load(), "cas_misses": st.casMisses.Load(), "cas_badval": st.casBadval.Load(),
		"incr_hits": st.incrHits.Load(), "incr_misses": st.incrMisses.Load(),
		"decr_hits": st.decrHits.Load(), "decr_misses": st.decrMisses.Load(),
	}
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		n["curr_items"] += uint64(len(sh.items))
		n["bytes"] += uint64(sh.bytes)
		sh.mu.Unlock()
	}
	return n
}

func (c *conn) showStats([][]byte) error {
	n := c.s.numbers(c.m)
	for _, name := range slices.Sorted(maps.Keys(n)) {
		c.say(fmt.Sprintf("STAT %s %d", name, n[name]))
	}
	c.say("STAT version " + version)
	c.say("END")
	return nil
}

// each calls do for every living item, shard by shard, in the order of keys.
func (m *memory) each(do func(it *item)) {
	now := m.second()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		for _, key := range slices.Sorted(maps.Keys(s.items)) {
			if it := m.find(s, key, now); it != nil {
				do(it)
			}
		}
		s.mu.Unlock()
	}
}

// metadump lists what is stored, without values: `lru_crawler metadump all`.
func (c *conn) metadump(args [][]byte) error {
	if string(args[1]) != "metadump" || string(args[2]) != "all" {
		c.say("ERROR")
		return nil
	}
	c.m.each(func(it *item) {
		expires, fetched := it.expires, "no"
		if expires == 0 {
			expires = -1
		}
		if it.fetched {
			fetched = "yes"
		}
		key := strings.ReplaceAll(url.QueryEscape(it.key), "+", "%20")
		c.out = fmt.Appendf(c.out, "key=%s exp=%d la=%d cas=%d fetch=%s cls=1 size=%d\n", key, expires, it.used, it.cas, fetched, it.size())
	})
	c.say("END")
	return nil
}

// Keys lists the living keys in their order.
func (s *Server) Keys() []string {
	var keys []string
	s.current().each(func(it *item) { keys = append(keys, it.key) })
	slices.Sort(keys)
	return keys
}

// Peek reads a value without counting as a use.
func (s *Server) Peek(key string) (value []byte, ok bool) {
	m := s.current()
	sh := in(m, key)
	defer sh.mu.Unlock()
	it := m.find(sh, key, m.second())
	if it == nil {
		return nil, false
	}
	return slices.Clone(it.data), true
}

// Poke changes a value behind the clients' backs, as damaged memory or another program would; its CAS id stays, unlike with a
// write. It tells whether there was one.
func (s *Server) Poke(key string, mutate func([]byte) []byte) bool {
	m := s.current()
	sh := in(m, key)
	defer sh.mu.Unlock()
	it := m.find(sh, key, m.second())
	if it == nil {
		return false
	}
	data := mutate(slices.Clone(it.data))
	sh.bytes += len(data) - len(it.data)
	it.data = data
	return true
}

// FlushAll is the command flush_all.
func (s *Server) FlushAll() { s.current().flush(0) }
