//go:build !race

package sim_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
	"github.com/pillion-proxy/pillion/test/sim"
)

// Each mutant breaks one rule. The invariant that the rule is for must fail, or the simulation proves nothing by passing.
func TestMutantsAreCaught(t *testing.T) {
	anywhere := func(sim.Scenario) bool { return true }
	locked := func(s sim.Scenario) bool { return s.Lock != sidecar.LockNone && len(s.Skew) > 1 }
	asking := func(s sim.Scenario) bool { return s.Peers && s.Promised }
	apart := func(s sim.Scenario) bool {
		return asking(s) && slices.ContainsFunc(s.Faults, func(f sim.Fault) bool { return f.Kind == sim.Partition })
	}
	alone := func(s sim.Scenario) bool { return !s.Sticky && s.Promised && pauses(s) > 1 }
	missed := func(s sim.Scenario) bool { return !s.Sticky && !s.Peers && len(s.Skew) > 1 && pauses(s) > 0 }
	contested := func(s sim.Scenario) bool { return s.Plot == sim.Contest }
	for _, m := range []struct {
		rule   string
		where  func(sim.Scenario) bool // it can show
		mutate func(sim.Ring) sidecar.Store
		want   []sim.Invariant // one of them
	}{
		{"copies are joined, not chosen between", anywhere, func(r sim.Ring) sidecar.Store { return chooser{r} }, []sim.Invariant{sim.LostUpdate}},
		{"a write meets what is stored", anywhere, func(r sim.Ring) sidecar.Store { return blind{r} }, []sim.Invariant{sim.LostUpdate}},
		{"an acknowledgement follows the write", anywhere, func(r sim.Ring) sidecar.Store { return hasty{r} }, []sim.Invariant{sim.LostUpdate}},
		{"a lost copy is written again", anywhere, func(r sim.Ring) sidecar.Store { return stingy{r} }, []sim.Invariant{sim.LostSession}},
		{"a logout leaves a tombstone", anywhere, func(r sim.Ring) sidecar.Store { return eraser{r} }, []sim.Invariant{sim.Undead}},
		{"a miss is not an absence", anywhere, func(r sim.Ring) sidecar.Store { return forgetful{r} }, []sim.Invariant{sim.LostSession}},
		{"a stamp is greater than all that was seen", anywhere, func(r sim.Ring) sidecar.Store { return clockless{r} }, []sim.Invariant{sim.Overwritten}},
		{"a locked commit is exact", locked, func(r sim.Ring) sidecar.Store { return careless{r} }, []sim.Invariant{sim.WrongCount}},
		{"a renewal marks the old session", anywhere, func(r sim.Ring) sidecar.Store { return unmarked{r} }, []sim.Invariant{sim.OldID}},
		{"an end waits until all can know of it", missed, func(r sim.Ring) sidecar.Store { return prompt{r} }, []sim.Invariant{sim.Undead, sim.OldID}},
		{"an id names what one node alone has", alone, func(r sim.Ring) sidecar.Store { return trusting{r} }, []sim.Invariant{sim.LostUpdate}},
		{"a commit that meets another owner takes the session back", contested, func(r sim.Ring) sidecar.Store { return stubborn{r} }, []sim.Invariant{sim.LostUpdate}},
		{"a silent owner is fenced", apart, func(r sim.Ring) sidecar.Store { return unfenced{r} }, []sim.Invariant{sim.LostUpdate, sim.Undead}},
	} {
		t.Run(m.rule, func(t *testing.T) {
			caught(t, m.where, m.want, func(s sim.Scenario) sim.Result { return run(t, s, sim.Options{Mutate: m.mutate}) })
		})
	}
	t.Run("a node has lives", func(t *testing.T) {
		emptied := func(s sim.Scenario) bool { return s.Plot == sim.Emptied }
		caught(t, emptied, []sim.Invariant{sim.LostSession, sim.Undead, sim.LostUpdate}, func(s sim.Scenario) sim.Result {
			return run(t, s, sim.Options{Lifeless: true})
		})
	})
	t.Run("an owner is asked", func(t *testing.T) {
		caught(t, asking, []sim.Invariant{sim.LostUpdate}, func(s sim.Scenario) sim.Result {
			s.Peers = false
			return run(t, s, sim.Options{})
		})
	})
}

// pauses counts the nodes' silences.
func pauses(s sim.Scenario) (n int) {
	for _, f := range s.Faults {
		if f.Kind == sim.FreezeNode || f.Kind == sim.SlowLink {
			n++
		}
	}
	return n
}

// caught runs seeds until one breaks a wanted invariant. It takes too long under the race detector, where the same code runs unmutated.
func caught(t *testing.T, where func(sim.Scenario) bool, want []sim.Invariant, history func(sim.Scenario) sim.Result) {
	t.Helper()
	const most = 10_000
	others := map[sim.Invariant]bool{}
	for n := uint64(1); n <= most; n++ {
		s := sim.Draw(n)
		if !where(s) {
			if s = sim.Draw(sim.Plots + n); !where(s) { // few seeds without a plot hold what some rules are for
				continue
			}
		}
		for _, v := range history(s).Violations {
			if slices.Contains(want, v.Invariant) {
				t.Logf("caught by seed %d", s.Seed)
				return
			}
			others[v.Invariant] = true
		}
	}
	t.Errorf("%d seeds without %q, but with %v", most, want, others)
}

// chooser keeps of two copies the one that was written last, whole.
type chooser struct{ sidecar.Store }

func (c chooser) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join := w.Join
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		mine, err := join(nil)
		if err != nil || stored == nil || stored.State > mine.State || mine.State > stored.State {
			return join(stored)
		}
		return overrule(mine, stored), nil
	}
	return c.Store.Save(ctx, id, w)
}

// overrule gives every attribute that only loser has a deletion by winner: what choosing winner does to it.
func overrule(a, b *sessioncodec.Record) *sessioncodec.Record {
	winner, loser := a, b
	if b.MaxClock() > a.MaxClock() {
		winner, loser = b, a
	}
	joined := sessioncodec.Join(winner, loser)
	var gone []sessioncodec.Entry
	for _, e := range joined.Entries {
		if _, ok := winner.Find(e.Name); !ok && e.Kind == sessioncodec.JSON {
			gone = append(gone, sessioncodec.Entry{
				Name: e.Name, Kind: sessioncodec.Deleted, Stamp: sessioncodec.Stamp{Clock: max(winner.MaxClock(), e.Stamp.Clock+1), Writer: e.Stamp.Writer},
			})
		}
	}
	return joined.With(gone...)
}

// blind writes what it has over what is stored.
type blind struct{ sidecar.Store }

func (b blind) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join := w.Join
	w.Join = func(*sessioncodec.Record) (*sessioncodec.Record, error) { return join(nil) }
	return b.Store.Save(ctx, id, w)
}

// prompt is content with an end that one node has.
type prompt struct{ sidecar.Store }

func (p prompt) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	w.End = false
	saved, err := p.Store.Save(ctx, id, w)
	saved.Unnoticed = false
	return saved, err
}

// hasty acknowledges first and writes afterwards.
type hasty struct{ sidecar.Store }

func (h hasty) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	r, err := w.Join(nil)
	if err != nil {
		return store.Saved{}, err
	}
	time.AfterFunc(200*time.Millisecond, func() { _, _ = h.Store.Save(context.WithoutCancel(ctx), id, w) })
	return store.Saved{Node: id.Node, Acks: 2, Record: r}, nil
}

// stingy writes the second copy at birth only.
type stingy struct{ sidecar.Store }

func (s stingy) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	if !w.Birth {
		w.Copies = 1
	}
	return s.Store.Save(ctx, id, w)
}

// eraser deletes a session that is destroyed.
type eraser struct{ sim.Ring }

func (e eraser) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	r, err := w.Join(nil)
	if err != nil || r.State != sessioncodec.Destroyed {
		return e.Store.Save(ctx, id, w)
	}
	e.Forget(ring.StorageKey("shop", id.Random))
	return store.Saved{Node: id.Node, Acks: 2, Record: r}, nil
}

// forgetful takes whatever it does not get for an absence.
type forgetful struct{ sidecar.Store }

func (f forgetful) Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	found, _ := f.Store.Load(ctx, id, reach) // absent, should it be an error
	return found, nil
}

// clockless gives what is written the time of a clock that is wrong and that nothing raises.
type clockless struct{ sidecar.Store }

func (c clockless) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join := w.Join
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		r, err := join(stored)
		if err != nil || stored == nil {
			return r, err
		}
		var written []sessioncodec.Entry
		for _, e := range r.Entries {
			if old, _ := stored.Find(e.Name); old.Stamp != e.Stamp {
				wrong := []time.Duration{-400, 0, 300}[e.Stamp.Writer%3] * time.Millisecond
				e.Stamp.Clock = uint64(time.Now().Add(wrong).UnixMilli())
				written = append(written, e)
			}
		}
		return sessioncodec.Join(stored, r.With(written...)), nil
	}
	return c.Store.Save(ctx, id, w)
}

// careless locks nothing and overrules a conflict.
type careless struct{ sidecar.Store }

func (c careless) Lock(context.Context, ring.ID, time.Duration, func()) (func(), error) {
	return func() {}, nil
}

func (c careless) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join := w.Join
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		r, err := join(stored)
		if err == nil {
			return r, nil
		}
		mine, err := join(nil)
		return sessioncodec.Join(mine, stored), err
	}
	return c.Store.Save(ctx, id, w)
}

// trusting takes any copy for as good as the one on the node that an id names.
type trusting struct{ sidecar.Store }

func (t trusting) Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	found, err := t.Store.Load(ctx, id, reach)
	found.Silent = nil
	return found, err
}

// unmarked leaves a renewed session as it was.
type unmarked struct{ sidecar.Store }

func (u unmarked) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	r, err := w.Join(nil)
	if err != nil || r.State != sessioncodec.Superseded {
		return u.Store.Save(ctx, id, w)
	}
	return store.Saved{Node: id.Node, Acks: 2, Record: r}, nil
}

// stubborn goes on as the owner when a commit meets another one. What it wrote is in the nodes; the other's memory has not heard of it.
type stubborn struct{ sim.Ring }

func (s stubborn) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	join := w.Join
	mine, _ := join(nil)
	if mine == nil || w.Copies == 0 {
		return s.Ring.Save(ctx, id, w)
	}
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		r, err := join(owned(stored, mine.Owner))
		if stored == nil || err != nil {
			return r, err
		}
		return owned(r, stored.Owner), nil
	}
	saved, err := s.Ring.Save(ctx, id, w)
	saved.Record = owned(saved.Record, mine.Owner)
	return saved, err
}

func owned(r *sessioncodec.Record, by sessioncodec.Owner) *sessioncodec.Record {
	if r == nil || r.Owner == by {
		return r
	}
	record := *r
	record.Owner = by
	return &record
}

// unfenced tells nobody to trust its memory no more.
type unfenced struct{ sim.Ring }

func (u unfenced) Fence(context.Context, string, time.Duration) error { return nil }

func (u unfenced) Fenced(context.Context, string) store.Fence { return store.FenceClear }
