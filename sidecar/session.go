package sidecar

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// session is one visitor's session in the memory of its home. mu makes commits, takeovers and renewals follow each other; reads
// take the newest state without it. A sidecar keeps a million of these: what they cost is in docs/performance.md.
type session struct {
	random   [16]byte
	mu       mutex
	now      atomic.Pointer[state]
	accessed atomic.Int64  // Unix milliseconds of the last request
	touched  atomic.Int64  // Unix milliseconds of the last write to the ring
	sure     atomic.Int64  // Unix nanoseconds when the ring last named this process as the owner
	promise  atomic.Uint32 // this process never serves the session at an epoch up to this one
	taking   atomic.Bool   // a takeover holds mu
}

// state is what a session is between two changes; it is replaced, never changed. The record is packed: most sessions of a large memory are
// idle, and in pieces a record takes twice the bytes. What every request looks at stands beside it, and the last access, which moves on while the
// rest stays.
type state struct {
	id       ring.ID
	packed   []byte // the record
	accessed int64  // the record's, Unix milliseconds
	ends     uint32 // its lifetime, Unix seconds rounded up
	idle     uint32 // seconds
	is       sessioncodec.State
	owned    bool // this process alone serves it from memory (K4)
	backed   bool // the ring has it on as many nodes as it should
}

// newState packs a record.
func newState(id ring.ID, r *sessioncodec.Record, owned, backed bool) *state {
	return &state{
		id: id, packed: sessioncodec.Pack(r), accessed: r.Accessed, ends: seconds(r.Created + int64(r.Lifetime)*1000), idle: r.Idle,
		is: r.State, owned: owned, backed: backed,
	}
}

func seconds(milli int64) uint32 { return uint32(min(max((milli+999)/1000, 0), math.MaxUint32)) }

// record unpacks the record; nil when there is no state.
func (st *state) record() *sessioncodec.Record {
	if st == nil {
		return nil
	}
	r := sessioncodec.Unpack(st.packed)
	r.Accessed = st.accessed
	return r
}

// with is st once the ring has it, or has it not, and once it was used again.
func (st *state) with(id ring.ID, accessed int64, backed bool) *state {
	next := *st
	next.id, next.accessed, next.backed = id, accessed, backed
	return &next
}

// owns tells whether st may be served to a client that shows id: not when the cookie knows of a later takeover (K8).
func (st *state) owns(id ring.ID) bool {
	if st == nil || !st.owned || st.is != sessioncodec.Live {
		return false
	}
	return !ring.EpochBefore(st.id.Epoch, id.Epoch) && (st.id.Epoch != id.Epoch || st.id.Route == id.Route)
}

// expired tells whether nobody used the session for its idle time, or its lifetime is over (L4). The slack is that of the ring's
// copies, which know the last access only to within a touch: else a session would end here and come back from there.
func (s *session) expired(st *state, now time.Time, slack time.Duration) bool {
	used := max(st.accessed, s.accessed.Load())
	t := now.UnixMilli()
	return t > used+int64(st.idle)*1000+slack.Milliseconds() || t > int64(st.ends)*1000
}

// confirm notes that the ring named this process as the owner of s.
func (s *session) confirm() { s.sure.Store(time.Now().UnixNano()) }

// mutex is held while the ring is asked, and lets in who waits in the order they came. It is no sync.Mutex, for who waits may be waiting for
// the network: a wait on a channel lets time go on in a bubble of testing/synctest. The zero value is free.
type mutex struct {
	guard sync.Mutex // held for an instant
	line  *turn
	held  bool
	gone  bool // what the mutex guards is no longer in use
}

// turn is one place in the line before a mutex.
type turn struct {
	come chan struct{}
	next *turn
}

func (m *mutex) Lock() {
	m.guard.Lock()
	if !m.held {
		m.held = true
		m.guard.Unlock()
		return
	}
	mine := &turn{come: make(chan struct{})}
	last := &m.line
	for *last != nil {
		last = &(*last).next
	}
	*last = mine
	m.guard.Unlock()
	<-mine.come
}

// Unlock gives the mutex to the first in the line.
func (m *mutex) Unlock() {
	m.guard.Lock()
	defer m.guard.Unlock()
	if m.line == nil {
		m.held = false
		return
	}
	close(m.line.come)
	m.line = m.line.next
}

func (m *mutex) TryLock() bool {
	m.guard.Lock()
	defer m.guard.Unlock()
	if m.held {
		return false
	}
	m.held = true
	return true
}
