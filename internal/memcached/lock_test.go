package memcached

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

func TestLockExcludes(t *testing.T) {
	a, b := startReal(t), startReal(t)
	id := newID(t, "n2")
	var held, most, turns atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		s := testStore(t, Options{}, a, b)
		all.Go(func() {
			for range 5 {
				unlock, err := s.Lock(context.Background(), id, 20*time.Second, func() {})
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), held.Add(1)))
				turns.Add(1)
				mustLoad(t, s, id, store.Near)
				held.Add(-1)
				unlock()
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || turns.Load() != 20 {
		t.Errorf("%d at once, %d turns", most.Load(), turns.Load())
	}
}

func TestLockIsBusyFreedAndNotFreedByOthers(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s, other := testStore(t, Options{}, a, b), testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	unlock, err := s.Lock(context.Background(), id, 0, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Lock(context.Background(), id, 30*time.Millisecond, func() {}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("err = %v, want ErrLocked", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := other.Lock(ctx, id, time.Minute, func() {}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
	unlock()
	unlock2, err := other.Lock(context.Background(), id, 0, func() {})
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	unlock() // again: it is not ours any more
	key := "p1:shop:l:" + ring.Ref("shop", id.Random)
	if got := a.Command("get "+key, "END"); len(got) != 3 {
		t.Errorf("the other's lock is %q", got)
	}
	unlock2()
}

// An owner whose lock expired and was taken by another does not free that one's.
func TestUnlockAsksWhoHoldsIt(t *testing.T) {
	a := startReal(t)
	s, other := testStore(t, Options{}, a), testStore(t, Options{}, a)
	id := newID(t, "n1")
	unlock, err := s.Lock(context.Background(), id, 0, func() {})
	if err != nil {
		t.Fatal(err)
	}
	a.Flush()
	if _, err := other.Lock(context.Background(), id, time.Second, func() {}); err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := s.Lock(context.Background(), id, 0, func() {}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("err = %v: the other's lock was freed", err)
	}
}

func TestLockGoesToTheNextNode(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	a.Kill()
	unlock, err := s.Lock(context.Background(), id, time.Second, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lock(context.Background(), id, 0, func() {}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("err = %v, want ErrLocked", err)
	}
	unlock()
}

// A lock that is held longer than its TTL is renewed.
func TestLockIsRenewed(t *testing.T) {
	a := startReal(t)
	s := testStore(t, Options{}, a)
	id := newID(t, "n1")
	unlock, err := s.Lock(context.Background(), id, 0, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	left := func() string { return a.Command("mg p1:shop:l:"+ring.Ref("shop", id.Random)+" t", "HD")[0] }
	eventually(t, "time passes", func() bool { return left() < "HD t5" })
	eventually(t, "the renewal", func() bool { return left() == "HD t5" })
}
