//go:build !race

package sidecar

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/pillion-proxy/pillion/internal/cache"
)

// What the engine takes from the heap for a request: a Cookie field that has to be put together, and once a second for each session Pillion-Meta,
// whose time of expiry moves on.
func TestAllocations(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		h := benched(t, sticky)
		var e exchange
		own := e.bear(t, h)
		for _, row := range []struct {
			cookie string
			most   float64
		}{{"theme=dark; " + own, 0}, {own + "; theme=dark", 0}, {"a=1; " + own + "; b=2", 1}, {"theme=dark", 0}, {"", 0}} {
			n := testing.AllocsPerRun(200, func() { e.drive(t, h, row.cookie, "") })
			if n > row.most {
				t.Errorf("sticky %v, Cookie %.30s: %v allocations, at most %v are needed", sticky, row.cookie, n, row.most)
			}
		}
	}
}

// A write, and the request that is told of it: what it takes is in docs/performance.md.
func TestAllocationsOfAWrite(t *testing.T) {
	for _, row := range []struct {
		name   string
		sticky bool
		commit Commit
		most   float64
	}{{"sticky", true, BeforeReply, 27}, {"async", true, Async, 25}, {"shared", false, BeforeReply, 25}} {
		o := benchOptions(t, row.sticky)
		o.Commit = row.commit
		h := New(o)
		var e exchange
		cookie, i := e.bear(t, h), 0
		n := testing.AllocsPerRun(200, func() {
			e.drive(t, h, cookie, `{"counter":`+strconv.Itoa(i)+`}`)
			i++
		})
		if n > row.most {
			t.Errorf("%s: %v allocations, at most %v are needed", row.name, n, row.most)
		}
	}
}

// memory_limit means what it says: the bytes that the table accounts for are those that it takes.
func TestAccountedMemory(t *testing.T) {
	const n = 10_000
	before := heap()
	h := benched(t, true)
	h.spellings = cache.New[seat, *spelling](0)
	var e exchange
	for range n {
		e.bear(t, h)
	}
	taken, accounted := heap()-before, h.keeper.(*sticky).table.bytes.Load()
	if ratio := float64(taken) / float64(accounted); ratio < 0.9 || ratio > 1.1 {
		t.Errorf("%d sessions take %d bytes, %d are accounted for", n, taken, accounted)
	}
	if each := taken / n; each > 1434 {
		t.Errorf("a session of 1 KB takes %d bytes, more than 1.4 KB", each)
	}
	runtime.KeepAlive(h)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	return int64(memory().HeapAlloc)
}
