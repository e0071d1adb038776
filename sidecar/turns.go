package sidecar

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
)

// turns let the requests of one session in one after the other, in the order they came.
type turns struct {
	mu    *sync.Mutex
	lines map[[16]byte]*line
}

// line is the queue of one session.
type line struct {
	waiting []chan struct{} // the first has the turn
	moved   time.Time       // when that changed last
}

func newTurns() turns { return turns{mu: &sync.Mutex{}, lines: map[[16]byte]*line{}} }

// enter waits for the turn; leave lets the next one in. A line that moves is worth waiting in: patience is for one that does not.
func (t turns) enter(ctx context.Context, random [16]byte, patience time.Duration) (leave func(), err error) {
	turn := make(chan struct{})
	t.mu.Lock()
	l := t.lines[random]
	if l == nil {
		l = &line{moved: time.Now()}
		t.lines[random] = l
		close(turn)
	}
	if len(l.waiting) >= lineLimit {
		t.mu.Unlock()
		return nil, errCrowd
	}
	l.waiting = append(l.waiting, turn)
	t.mu.Unlock()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-turn:
			return func() { t.leave(random, turn) }, nil
		case <-timer.C:
			if left := patience - t.still(l); left > 0 {
				timer.Reset(left)
				continue
			}
		case <-ctx.Done():
		}
		t.leave(random, turn)
		return nil, store.ErrLocked
	}
}

// still is how long l has not moved.
func (t turns) still(l *line) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Since(l.moved)
}

// move notes that the line of a session goes on, though its first is still the same: it waits in another line.
func (t turns) move(random [16]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.lines[random]; l != nil {
		l.moved = time.Now()
	}
}

func (t turns) leave(random [16]byte, turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lines[random]
	at := slices.Index(l.waiting, turn)
	l.waiting = slices.Delete(l.waiting, at, at+1)
	switch {
	case len(l.waiting) == 0:
		delete(t.lines, random)
	case at == 0:
		l.moved = time.Now()
		close(l.waiting[0])
	}
}
