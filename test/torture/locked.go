package main

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// lockHeld: the app takes 5 s for one request of each session, under its lock, while four others of the same session want to count too; harm comes
// in the middle. What is acknowledged is counted exactly once, and nothing else is.
func lockHeld(t *trial, harm func()) {
	t.overlap = true
	hold := hold(t)
	all := t.visitors(t.count(10, 4))
	var long sync.WaitGroup
	for _, v := range all {
		long.Go(func() { v.increment("count", fmt.Sprintf("&delay=%d", hold.Milliseconds())) })
	}
	t.pause(hold / 10)
	stop := t.load(slices.Repeat(all, 4), think, counting)
	t.pause(hold / 10)
	harm()
	long.Wait()
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
}

// hold is how long the app takes.
func hold(t *trial) time.Duration {
	if t.short {
		return 1500 * time.Millisecond
	}
	return 5 * time.Second
}

func lockHolderKilled(t *trial) {
	lockHeld(t, func() {
		t.sidecars[0].kill()
		t.wait(2 * time.Second)
		t.restart(t.sidecars[0])
	})
}

// lockHolderFrozen: the holder stands still until its lock is somebody else's, and goes on then as if it were not.
func lockHolderFrozen(t *trial) {
	t.front.timeout = 2 * patience
	lockHeld(t, func() {
		t.sidecars[0].freeze()
		t.pause(hold(t) + time.Second)
		t.sidecars[0].thaw()
	})
}

func lockNodeKilled(t *trial) {
	lockHeld(t, func() {
		t.nodes[0].kill()
		t.wait(2 * time.Second)
		t.restart(t.nodes[0])
	})
}
