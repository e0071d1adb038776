package sim

import "strings"

// pick is the front; nil while there is no sidecar. A pinned visitor stays at one sidecar while that lives, and a sidecar that drains
// keeps it until its requests there are done: so no session is asked for at two sidecars at once.
func (w *world) pick(v *visitor, client int, chance uint64) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.scenario.Front == Pinned && v.pin != nil && v.pin.alive() && (!v.pin.draining || v.open > 0) {
		v.open++
		return v.pin
	}
	var candidates []*process
	_, route, _ := strings.Cut(v.jars[client], ".")
	named := -1
	for _, p := range w.fleet {
		if p == nil || !p.alive() || p.draining {
			continue
		}
		if p.route == route && w.scenario.Front != Roaming {
			named = len(candidates)
		}
		candidates = append(candidates, p)
	}
	if len(candidates) == 0 {
		return nil
	}
	chosen := candidates[chance%uint64(len(candidates))]
	if named >= 0 {
		chosen = candidates[named]
	}
	v.pin, v.open = chosen, 1
	return chosen
}

// leave is told that a request of v at p is over.
func (w *world) leave(v *visitor, p *process) {
	w.set(func() {
		if v.pin == p {
			v.open--
		}
	})
}
