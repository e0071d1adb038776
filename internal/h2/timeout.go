package h2

import (
	"context"
	"sync"
	"time"
)

// deadline is what head.To.Timeout asks for: it runs from the end of the request, over all tries, and ends what is sent to the app.
type deadline struct {
	context.Context // of every try
	cancel          context.CancelFunc
	after           time.Duration

	mu      sync.Mutex
	timer   *time.Timer // nil until the request has ended
	over    bool        // the exchange ended
	expired bool
}

// sending is the context of what is sent to the app.
func (x *exchange) sending(timeout time.Duration) context.Context {
	if timeout <= 0 {
		return x.Context
	}
	if x.deadline == nil {
		x.deadline = &deadline{after: timeout}
		x.deadline.Context, x.deadline.cancel = context.WithCancel(x.Context)
	}
	return x.deadline
}

// start lets the time run. It may be called again, and on nil.
func (d *deadline) start() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer == nil && !d.over {
		d.timer = time.AfterFunc(d.after, d.expire)
	}
}

func (d *deadline) expire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.over, d.expired = true, true
		d.cancel()
	}
}

// stop ends the time: from now on nothing expires. It works on nil.
func (d *deadline) stop() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.timer != nil {
		d.timer.Stop()
	}
}

// passed tells whether the time was over before it was stopped. It works on nil.
func (d *deadline) passed() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired
}
