package memcached

import (
	"testing"

	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// K15: a write that must be exact meets what another sidecar gave a node that this one takes for down because it was silent.
func TestExactWriteAsksASilentNode(t *testing.T) {
	t.Parallel()
	a, b := startReal(t), startReal(t)
	s, other := testStore(t, Options{OpTimeout: frozenTimeout}, a, b), testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r)) // nobody watches its nodes: what is down stays so
	a.Freeze()
	t.Cleanup(a.Thaw)
	eventually(t, "n1 is down", func() bool {
		mustSave(t, s, id, update(r.With(entry("a", `2`))))
		return stateOf(s, "n1") == Down
	})
	exact := update(r.With(entry("b", `1`)))
	exact.Insist = true
	if saved := mustSave(t, s, id, exact); saved.Acks != 1 {
		t.Errorf("a frozen node acknowledged: %+v", saved)
	}
	a.Thaw()
	mustSave(t, other, id, update(r.With(entry("c", `1`))))
	if saved := mustSave(t, s, id, update(r.With(entry("d", `1`)))); saved.Acks != 1 {
		t.Errorf("a node that is down was asked: %+v", saved)
	}
	if saved := mustSave(t, s, id, exact); saved.Acks != 2 || value(saved.Record, "c") != `1` {
		t.Errorf("saved %+v", saved)
	}
	if got := stateOf(s, "n1"); got != Suspect {
		t.Errorf("n1 is %s", got)
	}
}

// A node that refused may be back, and another sidecar have written there, before this one's watcher has found out: an id that names it is a reason
// to look, and so is a write that must be exact.
func TestIDNamesANodeThatIsBack(t *testing.T) {
	t.Parallel()
	for _, look := range []string{"a load", "an exact write"} {
		a, b := startReal(t), startReal(t)
		s, other := testStore(t, Options{}, a, b), testStore(t, Options{}, a, b) // nobody watches their nodes
		id := newID(t, "n1")
		r := record(entry("a", `1`))
		mustSave(t, s, id, birth(r))
		a.Kill()
		mustLoad(t, s, id, store.Near)
		if got := stateOf(s, "n1"); got != Down {
			t.Fatalf("n1 is %s", got)
		}
		a.Start()
		mustSave(t, other, id, update(r.With(entry("b", `1`))))
		b.Freeze()
		t.Cleanup(b.Thaw)
		var found *sessioncodec.Record
		eventually(t, look, func() bool { // it is not asked more often than each 20 ms
			if look == "a load" {
				loaded, err := s.Load(t.Context(), id, store.Near)
				found = loaded.Record
				return err == nil
			}
			exact := update(r.With(entry("c", `1`)))
			exact.Insist = true
			saved, err := s.Save(t.Context(), id, exact)
			found = saved.Record
			return err == nil && saved.Acks == 1
		})
		if value(found, "b") != `1` {
			t.Errorf("%s found %v", look, found)
		}
	}
}
