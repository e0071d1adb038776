package memcached

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
)

func TestQuorum(t *testing.T) {
	for nodes, want := range map[int]int{1: 1, 2: 1, 3: 2, 5: 4} {
		if got := quorum(nodes); got != want {
			t.Errorf("of %d nodes %d must agree, want %d", nodes, got, want)
		}
	}
}

// A fence is seen by the one it is for, on any node, and lapses; who reaches too few nodes cannot fence, and knows that it cannot tell.
func TestFence(t *testing.T) {
	servers := []*real{startReal(t), startReal(t), startReal(t)}
	s := testStore(t, Options{}, servers...)
	ctx := context.Background()
	if got := s.Fenced(ctx, "a1"); got != store.FenceClear {
		t.Fatalf("before: %d", got)
	}
	if err := s.Fence(ctx, "a1", 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if err := s.Fence(ctx, "a1", 2*time.Second); err != nil {
		t.Fatalf("renewing: %v", err)
	}
	if got := s.Fenced(ctx, "a1"); got != store.FenceSet {
		t.Errorf("after: %d", got)
	}
	if got := s.Fenced(ctx, "a2"); got != store.FenceClear {
		t.Errorf("another route: %d", got)
	}
	eventually(t, "the fence lapses", func() bool { return s.Fenced(ctx, "a1") == store.FenceClear })
	servers[0].Kill()
	eventually(t, "two of three are enough", func() bool { return s.Fence(ctx, "a1", 2*time.Second) == nil })
	servers[1].Kill()
	eventually(t, "one of three is not", func() bool { return errors.Is(s.Fence(ctx, "a3", 2*time.Second), store.ErrUnknown) })
	if got := s.Fenced(ctx, "a3"); got == store.FenceClear {
		t.Error("one node of three ruled a fence out")
	}
	servers[2].Kill()
	eventually(t, "no node answers", func() bool { return s.Fenced(ctx, "a1") == store.FenceIsolated })
}
