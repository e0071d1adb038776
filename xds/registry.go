package xds

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// lossGrace is how long an endpoint stays whose stream ended unannounced. A sidecar comes back within a second; a dead one is found by the
// fronts' health checks, and a connection that it refuses is tried elsewhere.
const lossGrace = 3 * time.Second

// member is one sidecar in the registry.
type member struct {
	Sidecar
	Stream string    `json:"stream"`
	Since  time.Time `json:"since"`
	Lost   time.Time `json:"lost,omitzero"`    // when its stream ended, zero while it is open
	Hidden string    `json:"hidden,omitempty"` // why it is not served
	number uint64    // of the stream: the greater is the newer
}

// registry is who is connected, learnt from streams and keyed by them.
type registry struct {
	mu      sync.Mutex
	members map[string]member // by stream
	lost    map[string]bool   // streams of members that are lost
}

func newRegistry() *registry { return &registry{members: map[string]member{}, lost: map[string]bool{}} }

// announce takes what a stream says of its sidecar, unless admit refuses it. It tells whether that is news.
func (r *registry) announce(m member, admit func(all []member) error) (news bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, again := r.members[m.Stream]
	if again && known.Sidecar == m.Sidecar {
		return false, nil
	}
	if !r.familiar(m) {
		others := make([]member, 0, len(r.members)+1)
		for stream, other := range r.members {
			if stream != m.Stream {
				others = append(others, other)
			}
		}
		if err := admit(append(others, m)); err != nil {
			return false, err
		}
	}
	for stream := range r.lost { // what was lost is found: here, or its address is another's now
		if other := r.members[stream]; other.App == m.App && other.Route == m.Route || other.Address == m.Address {
			r.drop(stream)
		}
	}
	r.members[m.Stream] = m
	return true, nil
}

// familiar tells whether somebody like m is served already. Who can be served together does not depend on how many there are, and to judge
// each of thousands that come at once by all the others would take minutes.
func (r *registry) familiar(m member) bool {
	for stream, other := range r.members {
		if stream != m.Stream && other.Lost.IsZero() && other.App == m.App && other.Space == m.Space && other.Cookie == m.Cookie {
			return true
		}
	}
	return false
}

func (r *registry) drop(stream string) {
	delete(r.members, stream)
	delete(r.lost, stream)
}

// leave is the end of a stream.
func (r *registry) leave(stream string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[stream]
	if !ok {
		return
	}
	if m.Draining {
		r.drop(stream)
		return
	}
	m.Lost = now
	r.members[stream], r.lost[stream] = m, true
}

// view returns all members by app and route, those that are not to be served with the reason, and when the view will change by itself
// (zero: it will not). What is over is dropped.
func (r *registry) view(now time.Time) (all []member, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	connected := map[string]bool{} // apps
	for _, m := range r.members {
		connected[m.App] = connected[m.App] || m.Lost.IsZero()
	}
	for stream, m := range r.members {
		if m.Lost.After(now) { // the clock went back
			m.Lost = now
			r.members[stream] = m
		}
		if !m.Lost.IsZero() && connected[m.App] {
			over := m.Lost.Add(lossGrace)
			if !now.Before(over) {
				r.drop(stream)
				continue
			}
			if next.IsZero() || over.Before(next) {
				next = over
			}
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b member) int { return cmp.Compare(b.number, a.number) })
	hideOlder(all)
	slices.SortStableFunc(all, func(a, b member) int { return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Route, b.Route)) })
	return all, next
}

// hideOlder marks members, the newest first, whose route or address a newer one has.
func hideOlder(all []member) {
	routes, addresses := map[[2]string]bool{}, map[string]bool{}
	for i := range all {
		m := &all[i]
		switch {
		case routes[[2]string{m.App, m.Route}]:
			m.Hidden = "a newer stream has this route"
		case addresses[m.Address]:
			m.Hidden = "a newer stream has this address"
		default:
			routes[[2]string{m.App, m.Route}], addresses[m.Address] = true, true
		}
	}
}

// of returns the sidecar of a stream.
func (r *registry) of(stream string) (member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, ok := r.members[stream]
	return m, ok
}
