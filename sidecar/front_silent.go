package sidecar

import "time"

// A front gives up what waits at a sidecar that has left its probes unanswered for a while, as a sidecar does with what it has passed on
// (awaited.go). A safe request is then sent to another one, any other has its answer: it may have been executed.

// toItself: each backend has a list of its own of what waits there.
var toItself inquiry

// heard takes what a probe says about the requests that wait at b.
func (f *Front) heard(b *backend, asked time.Time, err error) {
	if lost := b.awaited.heard(toItself.route, asked, err); lost > 0 {
		f.opts.Log.Warn("a sidecar is silent: requests that wait there are given up", "app", b.app, "sidecar", b.name(), "requests", lost)
	}
}

// departed is a backend that no site has any more, while requests wait there: a sidecar that drained finishes what it has.
type departed struct {
	*backend
	app App
}

// part lets go of the backends that are not in the new site; f.mu is held.
func (f *Front) part(before, after *site) {
	for name, fl := range before.fleets {
		now := after.fleets[name]
		for _, b := range fl.backends {
			if !after.names(b.app, b.name()) { // or the series of sidecars that were replaced would pile up
				f.opts.Metrics.BackendUp.DeleteLabelValues(b.app, b.name())
				f.opts.Metrics.Requests.DeleteLabelValues(b.app, b.name())
			}
			if now == nil || now.at[b.Address] == nil {
				f.departed = append(f.departed, departed{b, fl.App})
			}
		}
	}
}

// waitedFor returns the departed that are to be asked whether they live, and forgets those that have nothing in hand.
func (f *Front) waitedFor() (overdue []departed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := f.departed[:0]
	for _, d := range f.departed {
		if d.requests.Load() > 0 {
			kept = append(kept, d)
		}
		if len(d.awaited.look()) > 0 {
			overdue = append(overdue, d)
		}
	}
	clear(f.departed[len(kept):])
	f.departed = kept
	return overdue
}
