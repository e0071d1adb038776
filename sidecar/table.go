package sidecar

import (
	"sync"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	tableShards = 64
	// entryOverhead is what a session costs in memory beside its names and values, measured on 64-bit machines.
	entryOverhead = 576
	// evictionSample is how many sessions are looked at to find an old one to evict: near enough to LRU without its list.
	evictionSample = 16
)

// session is one visitor's session in the memory of its home. mu makes commits, takeovers and renewals follow each other; reads
// take the newest state without it.
type session struct {
	random   [16]byte
	mu       mutex
	now      atomic.Pointer[state]
	accessed atomic.Int64  // Unix milliseconds of the last request
	touched  atomic.Int64  // Unix milliseconds of the last write to the ring
	sure     atomic.Int64  // Unix nanoseconds when the ring last named this process as the owner
	taking   atomic.Bool   // a takeover holds mu
	promise  atomic.Uint32 // this process never serves the session at an epoch up to this one
	dropped  bool          // no longer in the table; guarded by mu
	size     int64         // as accounted in the table; guarded by mu
}

// mutex is held while the ring is asked. It is a channel, for who waits for it may be waiting for the network: in a bubble of
// testing/synctest time goes on then, which it does not for a sync.Mutex.
type mutex chan struct{}

func newMutex() mutex   { return make(mutex, 1) }
func (m mutex) Lock()   { m <- struct{}{} }
func (m mutex) Unlock() { <-m }
func (m mutex) TryLock() bool {
	select {
	case m <- struct{}{}:
		return true
	default:
		return false
	}
}

// state is what a session is between two changes; it is replaced, never changed.
type state struct {
	id     ring.ID
	record *sessioncodec.Record
	owned  bool // this process alone serves it from memory (K4)
	backed bool // the ring has it on as many nodes as it should
}

// owns tells whether st may be served to a client that shows id: not when the cookie knows of a later takeover (K8).
func (st *state) owns(id ring.ID) bool {
	if st == nil || !st.owned || st.record.State != sessioncodec.Live {
		return false
	}
	return !ring.EpochBefore(st.id.Epoch, id.Epoch) && (st.id.Epoch != id.Epoch || st.id.Route == id.Route)
}

// table holds the sessions of a sticky sidecar. Its bytes are bounded: at the limit sessions that the ring has are dropped, the
// longest unused first; a later visit loads them again.
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
		if !s.dropped {
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
		s = &session{random: random, mu: newMutex()}
		sh.sessions[random] = s
		t.m.InMemory.Inc()
	}
	return s
}

// set replaces the state of s, whose mu is held, and accounts for its size.
func (t *table) set(s *session, st *state) {
	size := int64(weight(st.record) + entryOverhead)
	t.bytes.Add(size - s.size)
	t.m.MemoryBytes.Set(float64(t.bytes.Load()))
	s.size = size
	s.now.Store(st)
}

// drop forgets s, whose mu is held; whoever waits for it finds it dropped and starts anew.
func (t *table) drop(s *session) {
	if s.dropped {
		return
	}
	s.dropped = true
	sh := t.shard(s.random)
	sh.mu.Lock()
	delete(sh.sessions, s.random)
	sh.mu.Unlock()
	s.now.Store(nil)
	t.bytes.Add(-s.size)
	t.m.InMemory.Dec()
	t.m.MemoryBytes.Set(float64(t.bytes.Load()))
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
	if st := s.now.Load(); st != nil && st.backed && !s.dropped {
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
