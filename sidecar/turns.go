package sidecar

import (
	"context"
	"slices"
	"sync"

	"github.com/pillion-proxy/pillion/internal/store"
)

// turns let the requests of one session in one after the other, in the order they came.
type turns struct {
	mu    *sync.Mutex
	lines map[[16]byte][]chan struct{} // the first of a line has the turn
}

func newTurns() turns { return turns{mu: &sync.Mutex{}, lines: map[[16]byte][]chan struct{}{}} }

// enter waits for the turn; leave lets the next one in.
func (t turns) enter(ctx context.Context, random [16]byte) (leave func(), err error) {
	turn := make(chan struct{})
	t.mu.Lock()
	line := append(t.lines[random], turn)
	t.lines[random] = line
	if len(line) == 1 {
		close(turn)
	}
	t.mu.Unlock()
	select {
	case <-turn:
		return func() { t.leave(random, turn) }, nil
	case <-ctx.Done():
		t.leave(random, turn)
		return nil, store.ErrLocked
	}
}

func (t turns) leave(random [16]byte, turn chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.lines[random]
	at := slices.Index(line, turn)
	line = slices.Delete(line, at, at+1)
	if len(line) == 0 {
		delete(t.lines, random)
		return
	}
	t.lines[random] = line
	if at == 0 {
		close(line[0])
	}
}
