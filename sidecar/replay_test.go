package sidecar

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"
)

func numbered(route string, run byte, number uint64) hop {
	h := hop{from: route}
	h.nonce[0] = run
	binary.BigEndian.PutUint64(h.nonce[4:], number)
	return h
}

// Calls that overtake one another are taken once each, whatever their order and however many there are.
func TestReplaysAreRefused(t *testing.T) {
	var r replays
	now, random := time.Now(), rand.New(rand.NewPCG(1, 2))
	for at := uint64(1); at < 4*replayWindow; at += 1000 {
		numbers := random.Perm(1000)
		for _, n := range numbers {
			if !r.fresh(numbered("a", 1, at+uint64(n)), now) {
				t.Fatalf("%d is refused", at+uint64(n))
			}
		}
		for range 100 {
			if n := at + uint64(random.IntN(1000)); r.fresh(numbered("a", 1, n), now) {
				t.Fatalf("%d is taken twice", n)
			}
		}
	}
	if r.fresh(numbered("a", 1, 5), now) {
		t.Error("a call from long ago is taken twice")
	}
	if !r.fresh(numbered("a", 1, 1<<40), now) || r.fresh(numbered("a", 1, 4*replayWindow), now) || !r.fresh(numbered("a", 1, 1<<40-replayWindow+1), now) {
		t.Error("a leap is not the new end of the window")
	}
	if !r.fresh(numbered("a", 2, 5), now) || !r.fresh(numbered("b", 1, 5), now) {
		t.Error("another process's call is taken for a repetition")
	}
}

// The memory for senders is bounded; it is there again when some have been quiet for so long that their calls are too old.
func TestReplaysAreBounded(t *testing.T) {
	var r replays
	now := time.Now()
	for n := range replaySenders {
		run := numbered("a", byte(n), 1)
		run.nonce[1] = byte(n >> 8)
		if !r.fresh(run, now) {
			t.Fatalf("sender %d is refused", n)
		}
	}
	if r.fresh(numbered("b", 1, 1), now) {
		t.Error("there is room for ever more senders")
	}
	if !r.fresh(numbered("b", 1, 1), now.Add(2*hopWindow+1)) || len(r.senders) != 1 {
		t.Errorf("%d senders are remembered", len(r.senders))
	}
}
