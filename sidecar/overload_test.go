package sidecar

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

// stuck is a store that takes writes only when it is told to go on.
type stuck struct {
	free
	begun atomic.Int64
	goOn  chan struct{}
}

func (s *stuck) Save(_ context.Context, _ ring.ID, w store.Write) (store.Saved, error) {
	s.begun.Add(1)
	<-s.goOn
	joined, err := w.Join(nil)
	return store.Saved{Node: "n1", Acks: 2, Record: joined}, err
}

// A flood of writes on a ring that hardly moves: as many wait as may, each of the others hears 503 overload at once, and those that waited are
// served when the ring goes on.
func TestFloodIsToldSo(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) { flood(t, sticky) })
	}
}

func flood(t *testing.T, sticky bool) {
	s := &stuck{goOn: make(chan struct{})}
	h := benched(t, sticky)
	h.opts.Store = s
	const more = 1000
	var ok, told, other atomic.Int64
	var all sync.WaitGroup
	for range crowdLimit + more {
		all.Go(func() {
			switch err := (&exchange{}).try(h, "", `{"a":1}`); {
			case err == nil:
				ok.Add(1)
			case err.Status == 503 && err.Token == head.Overload && err.Fields.Has("Retry-After"):
				told.Add(1)
			default:
				other.Add(1)
			}
		})
	}
	synctest.Wait()
	if ok.Load() > 0 || told.Load() != more || s.begun.Load() != crowdLimit {
		t.Errorf("while the ring stands still %d are served, %d told, %d wait", ok.Load(), told.Load(), s.begun.Load())
	}
	close(s.goOn)
	all.Wait()
	if ok.Load() != crowdLimit || other.Load() != 0 {
		t.Errorf("sticky %v: %d served, %d told, %d otherwise", sticky, ok.Load(), told.Load(), other.Load())
	}
}

// try is drive for requests that may fail.
func (e *exchange) try(h head.Handler, cookie, patch string) (reply *head.Reply) {
	e.x = head.Exchange{Context: context.Background(), Remote: e.x.Remote, Request: head.Head{Method: "POST", Target: "/", Fields: e.x.Request.Fields[:0]}}
	if cookie != "" {
		e.x.Request.Fields.Add("Cookie", cookie)
	}
	defer h.End(&e.x, nil)
	if _, reply := h.Request(&e.x); reply != nil {
		return reply
	}
	e.resp = head.Head{Status: 200, Fields: head.Fields{{Name: fieldPatch, Value: patch}}}
	errors.As(h.Response(&e.x, &e.resp), &reply)
	return reply
}

// M8: one client begins no more than limits.creations sessions a minute, whatever address of its network it uses; others do not suffer, nor do
// its own sessions.
func TestM8CreationsPerClient(t *testing.T) { synctest.Test(t, testCreations) }

func testCreations(t *testing.T) {
	h := benched(t, true)
	h.SetCreations(3)
	from := func(address string) *exchange {
		return &exchange{x: head.Exchange{Remote: netip.AddrPortFrom(netip.MustParseAddr(address), 1)}}
	}
	status := func(e *exchange, cookie string) int {
		reply := e.try(h, cookie, `{"a":1}`)
		if reply == nil {
			return 200
		}
		return reply.Status
	}
	var own string
	for i, want := range []int{200, 200, 200, 429, 429} {
		e := from(fmt.Sprintf("2001:db8::%d", i))
		if got := status(e, ""); got != want {
			t.Errorf("session %d of one /64: %d, want %d", i+1, got, want)
		}
		if want == 200 {
			own = e.resp.Fields.Get("Set-Cookie")
		}
	}
	for _, address := range []string{"2001:db8:0:1::1", "192.0.2.1", "::ffff:192.0.2.2"} {
		if got := status(from(address), ""); got != 200 {
			t.Errorf("another client, %s: %d", address, got)
		}
	}
	if got := status(from("2001:db8::1"), own); got != 200 {
		t.Errorf("a session that it has: %d", got)
	}
	h.SetCreations(0)
	if got := status(from("2001:db8::1"), ""); got != 200 {
		t.Errorf("without a limit: %d", got)
	}
}

// The clients that are counted are bounded, and a new minute forgets them.
func TestM8CountsWithinBounds(t *testing.T) {
	b := births{limit: 1}
	now := time.Unix(1e9, 0)
	for i := range birthClients + 1000 {
		if !b.admit(netip.AddrFrom4([4]byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)}), now) {
			t.Fatalf("client %d is refused its first session", i)
		}
	}
	if len(b.begun) != birthClients {
		t.Errorf("%d clients are counted", len(b.begun))
	}
	first := netip.AddrFrom4([4]byte{})
	if b.admit(first, now) || !b.admit(first, now.Add(time.Minute)) || len(b.begun) != 1 {
		t.Error("a minute is not a minute")
	}
}

// One session takes no more of the crowd than its line: others are served while it is stuck.
func TestOneSessionTakesItsLineOnly(t *testing.T) {
	for _, row := range []struct {
		name string
		mode LockMode
		most int64 // the one at work, and those behind it
	}{{"commits", LockNone, lineLimit + 1}, {"lock", LockAll, lineLimit}} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := benched(t, true)
				var e exchange
				cookie := e.bear(t, h)
				s := &stuck{goOn: make(chan struct{})}
				h.opts.Store, h.locks.mode, h.locks.wait = s, row.mode, time.Hour
				var served, told atomic.Int64
				var all sync.WaitGroup
				for i := range lineLimit + 500 {
					all.Go(func() {
						switch reply := (&exchange{}).try(h, cookie, fmt.Sprintf(`{"n":%d}`, i)); {
						case reply == nil:
							served.Add(1)
						case reply.Token == head.Overload:
							told.Add(1)
						}
					})
				}
				synctest.Wait()
				if n := told.Load(); n != lineLimit+500-row.most {
					t.Errorf("%d requests were told that the line is full", n)
				}
				close(s.goOn)
				all.Wait()
				if n := served.Load(); n != row.most {
					t.Errorf("%d were served, %d waited", n, row.most)
				}
			})
		})
	}
}
