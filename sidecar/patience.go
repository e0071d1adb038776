package sidecar

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends at a time of its own, or with its parent. Most of what is given one waits for nothing: the timer is made when
// something first does.
type patience struct {
	context.Context // the parent
	until           time.Time

	mu    sync.Mutex
	timed context.Context // ends with the timer; nil before anything waited
	stop  context.CancelFunc
}

// within bounds ctx to that time from now; whoever made it calls end.
func within(ctx context.Context, now time.Time, d time.Duration) *patience {
	p := &patience{Context: ctx, until: now.Add(d)}
	if outer, ok := ctx.(*patience); ok { // one timer does for both
		p.Context = outer.Context
		if outer.until.Before(p.until) {
			p.until = outer.until
		}
	}
	return p
}

// Deadline of the context.
func (p *patience) Deadline() (time.Time, bool) {
	if until, ok := p.Context.Deadline(); ok && until.Before(p.until) {
		return until, true
	}
	return p.until, true
}

// Done is closed when the time is over or the parent ended.
func (p *patience) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.stop = context.WithDeadline(p.Context, p.until)
	}
	return p.timed.Done()
}

// Err tells how the context ended.
func (p *patience) Err() error {
	if timed := p.waited(); timed != nil {
		return timed.Err()
	}
	if err := p.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(p.until) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value is the parent's. That of the timer's context lets the contexts made of this one end with it without a goroutine each.
func (p *patience) Value(key any) any {
	if timed := p.waited(); timed != nil {
		return timed.Value(key)
	}
	return p.Context.Value(key)
}

func (p *patience) waited() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.timed
}

// end gives the timer back.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
	}
}

var _ context.Context = (*patience)(nil)
