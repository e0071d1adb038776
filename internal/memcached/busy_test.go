package memcached

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

// "Too busy" promises that nothing was written (header-contract.md, overload). A write of which a copy may have gone out has no such answer,
// and one that got it sends nothing any more.
func TestBusyMeansThatNothingIsWritten(t *testing.T) {
	for _, sent := range []bool{false, true} {
		s := testStore(t, Options{OpTimeout: 5 * time.Second}, startReal(t), startReal(t))
		id := newID(t, "n1")
		r := record(entry("a", `1`))
		mustSave(t, s, id, birth(r))
		ended := make(chan outcome, 1)
		w := update(r.With(entry("a", `2`)))
		w.Done = func(saved store.Saved, err error) { ended <- outcome{saved, err} }
		want, value2 := store.ErrBusy, 0 // how many copies have the change in the end
		if sent {                        // at n1 the write needs no reading: it is what waits for its turn
			w.Seen = mustLoad(t, s, id, store.Near).Seen
			want, value2 = store.ErrUnacknowledged, 1
		}
		free := crowd(s)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := s.Save(ctx, id, w); !errors.Is(err, want) {
			t.Errorf("sent %v: %v", sent, err)
		}
		free()
		<-ended
		changed := 0
		for _, c := range s.Copies(t.Context(), ring.StorageKey(s.space, id.Random)) {
			if value(c.Record, "a") == `2` {
				changed++
			}
		}
		if changed != value2 {
			t.Errorf("sent %v: %d copies have the change", sent, changed)
		}
	}
}

// crowd lets every node have as much to do as it may, while it answers.
func crowd(s *Store) (free func()) {
	members := s.fleet.Load().members
	for _, n := range members {
		n.seen.Store(time.Now().Add(time.Hour).UnixNano())
		for range inFlight {
			n.slots <- struct{}{}
		}
	}
	return func() {
		for _, n := range members {
			for range inFlight {
				<-n.slots
			}
		}
	}
}
