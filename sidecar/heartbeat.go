package sidecar

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	heartRate  = 100 * time.Millisecond
	standstill = 500 * time.Millisecond // a beat so late means that the process did not run
)

// heartbeat notices that this process stood still: a paused machine, a SIGSTOP, no CPU. What it loaded before may be old by then.
type heartbeat struct {
	last atomic.Int64 // the newest beat, Unix milliseconds; 0 before the first
	woke atomic.Int64 // the end of the last standstill that a beat noticed
}

// run beats until ctx ends.
func (b *heartbeat) run(ctx context.Context) {
	tick := time.NewTicker(heartRate)
	defer tick.Stop()
	for {
		b.beat(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (b *heartbeat) beat(now time.Time) {
	if b.late(now) {
		b.woke.Store(now.UnixMilli())
	}
	b.last.Store(now.UnixMilli())
}

// stoodStill tells whether the process did since that time in Unix milliseconds, also when no beat has noticed it yet.
func (b *heartbeat) stoodStill(since int64, now time.Time) bool {
	return b.late(now) || b.woke.Load() >= max(since, 1)
}

// late goes by the wall clock: the monotonic one stops with the machine.
func (b *heartbeat) late(now time.Time) bool {
	last := b.last.Load()
	return last > 0 && now.UnixMilli()-last > standstill.Milliseconds()
}
