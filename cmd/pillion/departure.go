package main

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/admin"
)

// departure is where a process stands between serving and its end. An operator may take a drain back; that of a signal is for good.
type departure struct {
	apply   func(leave bool) // is told changes, one at a time, and returns when the change is in force
	waiting func() []string  // what the end would still cut short

	leaving atomic.Bool // the operator or a signal said so
	mu      sync.Mutex  // orders changes
	ending  bool
}

var _ admin.Leaver = (*departure)(nil)

var errEnding = errors.New("the process is ending: start it again instead")

// Drain implements admin.Leaver.
func (d *departure) Drain() { d.set(true, false) }

// Undrain implements admin.Leaver.
func (d *departure) Undrain() error {
	if !d.set(false, false) {
		return errEnding
	}
	return nil
}

// Leaving implements admin.Leaver.
func (d *departure) Leaving() (leaving bool, waiting []string) {
	if !d.leaving.Load() {
		return false, nil
	}
	return true, d.waiting()
}

// end drains for good.
func (d *departure) end() { d.set(true, true) }

func (d *departure) set(leave, ending bool) (ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ending && !leave {
		return false
	}
	d.ending = d.ending || ending
	if d.leaving.Swap(leave) != leave {
		d.apply(leave)
	}
	return true
}
