package sidecar

import (
	"sync"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/metrics"
)

const (
	tableShards = 64
	// entryOverhead is what a session costs in memory beside its packed record: session, state and its place in a shard's map. A test measures it.
	entryOverhead = 256
	// evictionSample is how many sessions are looked at to find an old one to evict: near enough to LRU without its list.
	evictionSample = 16
)

// table holds the sessions of a sticky sidecar. Its bytes are bounded: at the limit sessions that the ring has are dropped, the
// longest unused first; a later visit loads them again. Where the ring has none of them, nothing more is taken.
type table struct {
	limit  int64
	m      *metrics.Metrics
	bytes  atomic.Int64
	next   atomic.Uint32 // shard to evict from
	shards [tableShards]shard
}

type shard struct {
	mu       sync.RWMutex
	sessions map[[16]byte]*session
}

func newTable(limit int64, m *metrics.Metrics) *table {
	t := &table{limit: limit, m: m}
	for i := range t.shards {
		t.shards[i].sessions = map[[16]byte]*session{}
	}
	return t
}

// shard needs no hash: the identity is random itself.
func (t *table) shard(random [16]byte) *shard { return &t.shards[random[0]%tableShards] }

func (t *table) get(random [16]byte) *session {
	sh := t.shard(random)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.sessions[random]
}

// lock returns the session with that identity, an empty one when it is new here, with its mu held.
func (t *table) lock(random [16]byte) *session {
	for {
		s := t.enter(random)
		s.mu.Lock()
		if !s.mu.gone {
			return s
		}
		s.mu.Unlock()
	}
}

func (t *table) enter(random [16]byte) *session {
	if s := t.get(random); s != nil {
		return s
	}
	sh := t.shard(random)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.sessions[random]
	if s == nil {
		s = &session{random: random}
		sh.sessions[random] = s
		t.m.InMemory.Inc()
	}
	return s
}

// set replaces the state of s, whose mu is held, and accounts for its size. A session that was dropped stays empty: spellings may still lead to it.
func (t *table) set(s *session, st *state) {
	if s.mu.gone {
		return
	}
	t.m.MemoryBytes.Set(float64(t.bytes.Add(st.size() - s.now.Swap(st).size())))
}

// size is what st takes in memory, its session included.
func (st *state) size() int64 {
	if st == nil {
		return 0
	}
	return int64(cap(st.packed) + entryOverhead)
}

// drop forgets s, whose mu is held; whoever waits for it finds it dropped and starts anew.
func (t *table) drop(s *session) {
	if s.mu.gone {
		return
	}
	s.mu.gone = true
	sh := t.shard(s.random)
	sh.mu.Lock()
	delete(sh.sessions, s.random)
	sh.mu.Unlock()
	t.m.InMemory.Dec()
	t.m.MemoryBytes.Set(float64(t.bytes.Add(-s.now.Swap(nil).size())))
}

// room evicts until another session fits, and tells whether it does.
func (t *table) room() bool {
	for range 2 * tableShards {
		if t.bytes.Load() < t.limit {
			return true
		}
		t.evict(&t.shards[t.next.Add(1)%tableShards])
	}
	return t.bytes.Load() < t.limit
}

// evict drops the longest unused of a sample of a shard's backed sessions.
func (t *table) evict(sh *shard) {
	s := sh.oldest()
	if s == nil || !s.mu.TryLock() {
		return
	}
	defer s.mu.Unlock()
	if st := s.now.Load(); st != nil && st.backed && !s.mu.gone {
		t.drop(s)
		t.m.Evicted.Inc()
	}
}

func (sh *shard) oldest() *session {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	var oldest *session
	looked := 0
	for _, s := range sh.sessions {
		if st := s.now.Load(); st != nil && st.backed && (oldest == nil || s.accessed.Load() < oldest.accessed.Load()) {
			oldest = s
		}
		if looked++; looked == evictionSample {
			break
		}
	}
	return oldest
}

// all returns the sessions at this moment.
func (t *table) all() []*session {
	var out []*session
	for i := range t.shards {
		sh := &t.shards[i]
		sh.mu.RLock()
		for _, s := range sh.sessions {
			out = append(out, s)
		}
		sh.mu.RUnlock()
	}
	return out
}
