package memcached

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// merge is a write that adds a letter to the attribute o, as a merge of the sidecar does: once more where a node has another value.
type merge struct {
	mu    sync.Mutex
	mine  *sessioncodec.Record
	knows []sessioncodec.Stamp // of the values that it was made on or gave
	calls atomic.Int32
	met   func(stored *sessioncodec.Record)
}

func (m *merge) join(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
	m.calls.Add(1)
	m.met(stored)
	m.mu.Lock()
	defer m.mu.Unlock()
	if held, _ := stored.Find("o"); !slices.Contains(m.knows, held.Stamp) {
		next := entry("o", string(held.Value[:len(held.Value)-1])+`m"`)
		m.knows, m.mine = append(m.knows, held.Stamp, next.Stamp), m.mine.With(next)
	}
	m.mine = sessioncodec.Join(m.mine, stored)
	return m.mine, nil
}

// between is a session of which n1 alone has a later value of o, and a merge into the earlier one. When that meets the later one, n2 has taken it; then
// faults happen.
func between(t *testing.T, faults func(a, b *real)) (s *Store, id ring.ID, m *merge, a *real) {
	a, b := startReal(t), startReal(t)
	t.Cleanup(a.Thaw)
	t.Cleanup(b.Thaw)
	s = testStore(t, Options{OpTimeout: frozenTimeout}, a, b)
	id = newID(t, "n1")
	r := record(entry("o", `"r"`))
	mustSave(t, s, id, birth(r))
	mustSave(t, testStore(t, Options{}, a), id, update(r.With(entry("o", `"rx"`))))

	base, first := r.Entries[0], entry("o", `"rm"`)
	second := testStore(t, Options{}, b)
	var once sync.Once
	m = &merge{mine: r.With(first), knows: []sessioncodec.Stamp{base.Stamp, first.Stamp}, met: func(stored *sessioncodec.Record) {
		if value(stored, "o") == `"rx"` {
			once.Do(func() {
				eventually(t, "n2 has the change", func() bool { return value(mustLoad(t, second, id, store.Near).Record, "o") == `"rm"` })
				faults(a, b)
			})
		}
	}}
	return s, id, m, a
}

// A write is acknowledged when a node holds all that was met: here not before the merge with what n1 alone had is on n2, for n1 is too slow to take it. What
// goes on then brings n1 just that.
func TestAcknowledgementHoldsAllThatWasMet(t *testing.T) {
	t.Parallel()
	s, id, m, a := between(t, func(a, _ *real) { a.Freeze() })
	ended := make(chan outcome, 1)
	w := store.Write{Join: m.join, Copies: 2, Wait: store.Both, Done: func(saved store.Saved, err error) { ended <- outcome{saved, err} }}
	saved := mustSave(t, s, id, w)
	if saved.Node != "n2" || saved.Acks != 1 || !saved.Failed || value(saved.Record, "o") != `"rxm"` {
		t.Errorf("saved %+v with o = %s", saved, value(saved.Record, "o"))
	}
	calls := m.calls.Load()
	a.Thaw()
	<-ended
	if m.calls.Load() != calls {
		t.Error("it was merged once more when the caller had the outcome")
	}
	for _, c := range s.Copies(t.Context(), ring.StorageKey(s.space, id.Random)) {
		if c.Node == "n2" && value(c.Record, "o") != `"rxm"` {
			t.Errorf("n2 has o = %s", value(c.Record, "o"))
		}
	}
}

// A node that took the change before it was merged with what was met is no acknowledgement.
func TestPartOfTheOutcomeIsNoAcknowledgement(t *testing.T) {
	t.Parallel()
	s, id, m, _ := between(t, func(a, b *real) {
		a.Freeze()
		b.Freeze()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*frozenTimeout)
	defer cancel()
	if saved, err := s.Save(ctx, id, store.Write{Join: m.join, Copies: 2, Wait: store.Both}); !errors.Is(err, store.ErrUnacknowledged) {
		t.Errorf("%v: %+v", err, saved)
	}
}
