package memcached

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// outcome is what Done was told.
type outcome struct {
	saved store.Saved
	err   error
}

// With First the second copy is not waited for; Done tells of it later.
func TestFirstWaitsForTheNodeOfTheId(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	b.Freeze()
	t.Cleanup(b.Thaw)
	ended := make(chan outcome, 2)
	w := update(record(entry("b", `2`)))
	w.Wait, w.Done = store.First, func(saved store.Saved, err error) { ended <- outcome{saved, err} }
	start := time.Now()
	saved := mustSave(t, s, id, w)
	if took := time.Since(start); took > s.opTimeout*3/4 || saved.Node != "n1" || saved.Acks != 1 || !saved.Short {
		t.Errorf("after %v: %+v", took, saved)
	}
	select {
	case o := <-ended:
		t.Errorf("Done before the second copy: %+v", o)
	default:
	}
	b.Thaw()
	if o := <-ended; o.err != nil || o.saved.Acks != 2 || o.saved.Short {
		t.Errorf("done: %+v", o)
	}
}

// Both gives up the second copy when the operation timeout is over.
func TestBothWaitsNoLongerThanOneTimeout(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{OpTimeout: 100 * time.Millisecond}, a, b)
	id := newID(t, "n2")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	b.Freeze()
	t.Cleanup(b.Thaw)
	start := time.Now()
	saved := mustSave(t, s, id, update(record(entry("b", `2`))))
	if took := time.Since(start); took < s.opTimeout || took > 5*s.opTimeout {
		t.Errorf("took %v", took)
	}
	if saved.Node != "n1" || saved.Acks != 1 || !saved.Short || !saved.Failed || value(saved.Record, "b") != `2` {
		t.Errorf("saved %+v", saved)
	}
}

// A node that fails a save fails it once; then it is down, and nothing is expected of it.
func TestDownIsNotFailed(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	b.Kill()
	for _, failed := range []bool{true, false} {
		if saved := mustSave(t, s, id, update(record(entry("b", `2`)))); !saved.Short || saved.Failed != failed {
			t.Errorf("saved %+v, want failed %v", saved, failed)
		}
	}
}

// A caller that was told of no acknowledgement will not see its write come later than what is under way just then (decision 26).
func TestWriteEndsWithItsFailure(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{OpTimeout: 10 * time.Second}, a, b)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	a.Freeze()
	b.Freeze()
	t.Cleanup(a.Thaw)
	t.Cleanup(b.Thaw)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	ended := make(chan outcome, 1)
	w := update(record(entry("b", `2`)))
	w.Done = func(saved store.Saved, err error) { ended <- outcome{saved, err} }
	if _, err := s.Save(ctx, id, w); !errors.Is(err, store.ErrUnacknowledged) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v", err)
	}
	a.Thaw()
	b.Thaw()
	if o := <-ended; !errors.Is(o.err, store.ErrUnacknowledged) {
		t.Errorf("done: %+v", o)
	}
	if nodes := holding(s, id, "b"); len(nodes) != 0 {
		t.Errorf("b is on %v", nodes)
	}
}

// store.md 4: a write that timed out and comes late overwrites nothing newer.
func TestLateWriteDoesNotGoBack(t *testing.T) {
	a := startReal(t)
	slow := testStore(t, Options{OpTimeout: 30 * time.Millisecond}, a)
	s := testStore(t, Options{OpTimeout: 5 * time.Second}, a)
	for i := range 20 {
		id := newID(t, "n1")
		r := record(entry("a", `1`))
		mustSave(t, s, id, birth(r))
		var found store.Found
		eventually(t, "the hasty store reads", func() bool {
			var err error
			found, err = slow.Load(t.Context(), id, store.Near)
			return err == nil
		})
		older := update(r.With(entry("a", fmt.Sprint(i+10))))
		older.Seen = found.Seen
		newer := update(r.With(entry("a", fmt.Sprint(i+100))))
		newer.Seen = found.Seen
		a.Freeze()
		if _, err := slow.Save(context.Background(), id, older); !errors.Is(err, store.ErrUnacknowledged) {
			t.Fatalf("save on a frozen node: %v", err)
		}
		a.Thaw()
		mustSave(t, s, id, newer)
		if found := mustLoad(t, s, id, store.Near); value(found.Record, "a") != fmt.Sprint(i+100) {
			t.Fatalf("trial %d: a = %s", i, value(found.Record, "a"))
		}
	}
}

// Takers of one session write all nodes in one order, and the one that meets a higher owner stops.
func TestAllNodesInOrderOfNames(t *testing.T) {
	s := testStore(t, Options{}, startReal(t), startReal(t), startReal(t))
	id := newID(t, "n3")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	mine := record(entry("b", `2`))
	mine.Owner = sessioncodec.Owner{Epoch: 2, Route: "me", Incarnation: 7}
	saved := mustSave(t, s, id, joining(mine, store.Write{Wait: store.Both, Refill: true}))
	if saved.Acks != 3 || saved.Short || saved.Node != "n3" || saved.Record.Owner != mine.Owner {
		t.Errorf("saved %+v", saved)
	}
	outrun := errors.New("outrun")
	calls := 0
	_, err := s.Save(context.Background(), id, store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			calls++
			return nil, outrun
		}})
	if !errors.Is(err, outrun) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}
