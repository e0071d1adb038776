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
	// lateLimit bounds what waits so. It is more than the queue takes, for tombstones are among it (L5).
	lateLimit = 4 * backgroundLimit
)

// background writes to the ring what no request waits for: touches, refills, asynchronous commits, tombstones still owed to a node. There
// is at most one job for a session at a time, so that writes of one session coalesce.
type background struct {
	mu      sync.Mutex
	queued  sync.Cond // a job, for one worker; or the end, for all
	done    sync.Cond // with a job: for flush
	queue   []job
	waiting map[[16]byte]bool
	running int
	late    map[[16]byte]bool // jobs that will be queued in a while
	free    time.Time         // when the next turn is: see turn
	dropped func()            // counts those that will not
	closed  bool
}

type job struct {
	random [16]byte
	run    func(context.Context)
}

func newBackground(dropped func()) *background {
	b := &background{waiting: map[[16]byte]bool{}, late: map[[16]byte]bool{}, dropped: dropped}
	b.queued.L, b.done.L = &b.mu, &b.mu
	return b
}

// add queues a job unless the session has one waiting. A full queue refuses: a touch comes again, and memory stays bounded.
func (b *background) add(random [16]byte, run func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.put(random, run)
}

// put is add; b.mu is held.
func (b *background) put(random [16]byte, run func(context.Context)) bool {
	if b.waiting[random] {
		return true
	}
	if len(b.queue) >= backgroundLimit {
		return false
	}
	b.waiting[random] = true
	b.queue = append(b.queue, job{random, run})
	b.queued.Signal()
	return true
}

// again queues a job that could not be done now; while the queue is full it keeps trying. It is false when the job will not be done.
func (b *background) again(random [16]byte, run func(context.Context)) bool {
	taken := b.after(backgroundRetry, random, run)
	if !taken {
		b.dropped()
	}
	return taken
}

// after queues a job in a while, unless the session has one that comes then. It refuses when too many wait so.
func (b *background) after(d time.Duration, random [16]byte, run func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.late[random]:
		return true
	case len(b.late) >= lateLimit:
		return false
	}
	b.late[random] = true
	time.AfterFunc(d, func() {
		b.mu.Lock()
		delete(b.late, random) // at once: what begins to run now misses the next change
		queued := b.put(random, run)
		b.done.Broadcast()
		b.mu.Unlock()
		if !queued {
			b.again(random, run)
		}
	})
	return true
}

// turn is how long a job shall wait that may, so that such jobs come at their pace. The session has one already: then that is its turn.
func (b *background) turn(random [16]byte, now time.Time) (wait time.Duration, waits bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.late[random] {
		return 0, true
	}
	wait = min(max(b.free.Sub(now), 0), backUpWithin)
	b.free = now.Add(wait + time.Second/backUpPace)
	return wait, false
}

// run works until ctx ends.
func (b *background) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.closed = true
		b.queued.Broadcast()
		b.done.Broadcast()
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
		b.queued.Wait()
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
	b.done.Broadcast()
	b.mu.Unlock()
	return true
}

// waits counts what is queued, running or to be tried again.
func (b *background) waits() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.queue) + b.running + len(b.late)
}

// flush waits until nothing is queued, running or to be tried again, or ctx ends.
func (b *background) flush(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.done.Broadcast()
	})
	defer stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for (len(b.queue) > 0 || b.running > 0 || len(b.late) > 0) && ctx.Err() == nil && !b.closed {
		b.done.Wait()
	}
}
