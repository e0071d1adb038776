package memcached

import "time"

// Status is a node as /status shows it.
type Status struct {
	Name    string    `json:"name"`
	Address string    `json:"address"`
	State   State     `json:"state"`
	Local   bool      `json:"local"`
	Born    time.Time `json:"born,omitzero"` // begin of its life; zero before the first contact
	Seen    time.Time `json:"seen"`          // when it last answered
	Error   string    `json:"error,omitempty"`
}

// Nodes describes the ring in the order of its configuration.
func (s *Store) Nodes() []Status {
	f := s.fleet.Load()
	out := make([]Status, 0, len(f.nodes))
	for i, n := range f.members {
		st := Status{Name: n.name, Address: n.address, State: n.state(), Local: f.nodes[i].Local, Seen: time.Unix(0, n.seen.Load())}
		if m := n.now.Load().mark.Load(); m != nil {
			st.Born = m.born()
		}
		n.mu.Lock()
		if n.lastErr != nil {
			st.Error = n.lastErr.Error()
		}
		n.mu.Unlock()
		out = append(out, st)
	}
	return out
}
