package sidecar

import (
	"context"
	"sync"
	"time"
)

const (
	backgroundWorkers = 8
	backgroundLimit   = 100_000
	backgroundRetry   = time.Second
)

// background writes to the ring what no request waits for: touches, refills, asynchronous commits, tombstones still owed to a node. There
// is at most one job for a session at a time, so that writes of one session coalesce.
type background struct {
	mu      sync.Mutex
	changed sync.Cond
	queue   []job
	waiting map[[16]byte]bool
	running int
	retries int // jobs that will be queued again
	closed  bool
}

type job struct {
	random [16]byte
	run    func(context.Context)
}

func newBackground() *background {
	b := &background{waiting: map[[16]byte]bool{}}
	b.changed.L = &b.mu
	return b
}

// add queues a job unless the session has one waiting. A full queue refuses: a touch comes again, and memory stays bounded.
func (b *background) add(random [16]byte, run func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting[random] {
		return true
	}
	if len(b.queue) >= backgroundLimit {
		return false
	}
	b.waiting[random] = true
	b.queue = append(b.queue, job{random, run})
	b.changed.Broadcast()
	return true
}

// again queues a job that could not be done now; while the queue is full it keeps trying.
func (b *background) again(random [16]byte, run func(context.Context)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retries++
	time.AfterFunc(backgroundRetry, func() {
		if !b.add(random, run) {
			b.again(random, run)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.retries--
		b.changed.Broadcast()
	})
}

// run works until ctx ends.
func (b *background) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.closed = true
		b.changed.Broadcast()
	})
	defer stop()
	var workers sync.WaitGroup
	for range backgroundWorkers {
		workers.Go(func() {
			for b.next(ctx) {
			}
		})
	}
	workers.Wait()
}

func (b *background) next(ctx context.Context) bool {
	b.mu.Lock()
	for len(b.queue) == 0 && !b.closed {
		b.changed.Wait()
	}
	if b.closed {
		b.mu.Unlock()
		return false
	}
	j := b.queue[0]
	b.queue = b.queue[1:]
	delete(b.waiting, j.random)
	b.running++
	b.mu.Unlock()

	j.run(ctx)

	b.mu.Lock()
	b.running--
	b.changed.Broadcast()
	b.mu.Unlock()
	return true
}

// waits counts what is queued, running or to be tried again.
func (b *background) waits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) + b.running + b.retries
}

// flush waits until nothing is queued, running or to be tried again, or ctx ends.
func (b *background) flush(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changed.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for (len(b.queue) > 0 || b.running > 0 || b.retries > 0) && ctx.Err() == nil && !b.closed {
		b.changed.Wait()
	}
}
