package h1

import (
	"context"
	"sync"
	"time"
)

// lazyContext is a context that costs nothing until somebody asks it anything: most requests are served without.
type lazyContext struct {
	mu     sync.Mutex
	inner  context.Context
	cancel context.CancelFunc
	ended  bool
}

func (l *lazyContext) real() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		l.inner, l.cancel = context.WithCancel(context.Background())
		if l.ended {
			l.cancel()
		}
	}
	return l.inner
}

func (l *lazyContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (l *lazyContext) Done() <-chan struct{}       { return l.real().Done() }
func (l *lazyContext) Err() error                  { return l.real().Err() }
func (l *lazyContext) Value(key any) any           { return l.real().Value(key) }

// end ends it and tells whether anybody has asked it anything. If not, nobody can tell it from a new one.
func (l *lazyContext) end() (used bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	if l.inner == nil {
		return false
	}
	l.cancel()
	return true
}

// renew makes one that nobody has used new.
func (l *lazyContext) renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = false
}
