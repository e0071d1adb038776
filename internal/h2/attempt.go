package h2

import (
	"context"
	"sync"
)

// attempt is the try that is under way. Its Handler may give it up until the head of its answer is here (head.Exchange.Lose).
type attempt struct {
	mu     sync.Mutex
	cancel context.CancelCauseFunc // nil when nothing can be given up
	gone   bool                    // it was
	ended  context.CancelCauseFunc // of the last one
}

// begin returns the context of a try.
func (a *attempt) begin(all context.Context) context.Context {
	a.end()
	ctx, cancel := context.WithCancelCause(all)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel, a.ended, a.gone = cancel, cancel, false
	return ctx
}

func (a *attempt) lose() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cancel != nil {
		a.gone = true
		a.cancel(errLost)
	}
}

// answered is told that a final head is here, and tells whether it came in time.
func (a *attempt) answered() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = nil
	return !a.gone
}

// lost tells whether the try was given up.
func (a *attempt) lost() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

// end lets go of what a try has held.
func (a *attempt) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cancel = nil
	if a.ended != nil {
		a.ended(nil)
	}
}
