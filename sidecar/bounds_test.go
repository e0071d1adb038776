package sidecar

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// What clients, peers or a ring that fails can make a sidecar remember is bounded. The other bounds: TestHeaderCacheIsBounded,
// TestM8CountsWithinBounds, TestFloodIsToldSo, TestOneSessionTakesItsLineOnly, TestReplaysAreBounded, and the learned routes in lock_test.go.

// Writes to be tried again: one for each session however often it fails, and no more than may wait.
func TestLateWritesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran, dropped := 0, 0
		b := newBackground(func() { dropped++ })
		for range 3 {
			b.again([16]byte{1}, func(context.Context) { ran++ })
		}
		ctx, cancel := context.WithCancel(t.Context())
		go b.run(ctx)
		time.Sleep(2 * backgroundRetry)
		cancel()
		synctest.Wait()
		if ran != 1 || dropped != 0 {
			t.Errorf("a write was tried %d times, %d were dropped", ran, dropped)
		}
		for i := range lateLimit + 10 {
			var random [16]byte
			binary.BigEndian.PutUint64(random[:], uint64(i))
			b.again(random, func(context.Context) {})
		}
		if len(b.late) != lateLimit || dropped != 10 {
			t.Errorf("%d wait, %d were dropped", len(b.late), dropped)
		}
	})
}

// What waits for the background: a full queue refuses.
func TestBackgroundIsBounded(t *testing.T) {
	b := newBackground(func() {})
	for i := range backgroundLimit + 10 {
		var random [16]byte
		binary.BigEndian.PutUint64(random[:], uint64(i))
		if took := b.add(random, func(context.Context) {}); took != (i < backgroundLimit) {
			t.Fatalf("job %d is taken: %v", i, took)
		}
	}
	if b.waits() != backgroundLimit {
		t.Errorf("%d jobs wait", b.waits())
	}
}

// Subjects: the sessions in a list, the youngest of them, and the epochs that are remembered.
func TestSubjectsAreBounded(t *testing.T) {
	h := benched(t, true)
	now := time.Now()
	var record *sessioncodec.Record
	for i := range 2 * listLimit {
		l := &list{clock: h.clock, record: record, now: now, lifetime: h.opts.Lifetime}
		l.begin()
		l.put(strconv.Itoa(i), now.UnixMilli()+int64(i))
		record = h.subjects.bounded(now)(l.end())
	}
	refs := refsOf(record)
	if len(refs) != listLimit || refs[0] != strconv.Itoa(2*listLimit-1) || refs[listLimit-1] != strconv.Itoa(listLimit) {
		t.Errorf("%d sessions are listed, from %s to %s", len(refs), refs[0], refs[len(refs)-1])
	}
	for i := range epochsLimit + 10 {
		h.subjects.known(strconv.Itoa(i))
	}
	if n := len(h.subjects.epochs); n > epochsLimit {
		t.Errorf("%d epochs are remembered", n)
	}
}

// Handles in their grace time.
func TestHandlesAreBounded(t *testing.T) {
	s := newHandles(rand.Reader)
	for range handlesKept + 100 {
		s.close(s.open(&spelling{}))
	}
	if len(s.live) > handlesKept || len(s.ended) > handlesKept {
		t.Errorf("%d handles are kept", len(s.live))
	}
}

// The memory table: sessions that the ring has make room, and come back from there when they are asked for.
func TestMemoryIsBounded(t *testing.T) {
	h := benched(t, true)
	k := h.keeper.(*sticky)
	k.table.limit = 1 << 20
	var e exchange
	for range 3000 { // of 1.4 KB
		e.bear(t, h)
		if n := k.table.bytes.Load(); n > k.table.limit+2<<10 {
			t.Fatalf("%d bytes of sessions in memory, memory_limit is %d", n, k.table.limit)
		}
	}
	if n := len(k.table.all()); n < 500 || n > 1000 {
		t.Errorf("%d sessions of 1.4 KB in 1 MiB", n)
	}
	want := int64(0)
	for _, s := range k.table.all() {
		want += s.now.Load().size()
	}
	if got := k.table.bytes.Load(); got != want {
		t.Errorf("%d bytes are accounted, the sessions have %d", got, want)
	}
}

// What the ring does not have is never dropped: when nothing else is left the next change hears 503 overload, and the sessions stay.
func TestUnbackedSessionsStay(t *testing.T) {
	h := benched(t, true)
	h.opts.Store = &alone{}
	k := h.keeper.(*sticky)
	k.table.limit = 1 << 20
	var cookies []string
	for range 3000 {
		e := &exchange{}
		reply := e.try(h, "", oneKB)
		if reply == nil {
			cookies = append(cookies, e.resp.Fields.Get("Set-Cookie"))
		} else if reply.Token != head.Overload {
			t.Fatal(reply)
		}
	}
	if n := len(k.table.all()); n != len(cookies) || n < 500 || n > 1000 {
		t.Errorf("%d sessions in memory, %d were promised", n, len(cookies))
	}
	for _, cookie := range cookies {
		e := &exchange{}
		if reply := e.try(h, cookie, `{"a":1}`); reply == nil || reply.Token != head.Overload {
			t.Fatalf("a change without room: %v", reply)
		}
		if got := len(e.x.Request.Fields.Get(fieldSession)); got < 1000 {
			t.Fatal("a session that only memory had is gone")
		}
	}
}

// alone is a store that keeps one copy of two.
type alone struct{ free }

func (s *alone) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	saved, err := s.free.Save(ctx, id, w)
	saved.Short, saved.Acks = true, 1
	return saved, err
}
