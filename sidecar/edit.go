package sidecar

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

var (
	errLockLost = errors.New("sidecar: another request wrote the attribute that this one had locked")
	errTooLarge = errors.New("sidecar: the session would exceed session.max_size")
)

// Names of the reserved entries.
const (
	reservedIdle    = "idle"
	reservedSubject = "subject"
)

// edit is the intent of one answer on its way into the ring. It is applied to the newest record known (on) and then joined with
// what each node holds (join). Where a node knows a newer value of an attribute that is merged into, the merge is done again on
// that value, so that parallel requests lose nothing; a put or a delete just joins. Once the commit has ended it is asked no more: a value that
// a late copy meets may be the same visitor's next change, and would be undone.
type edit struct {
	in     *instructions
	loaded *sessioncodec.Record // what the app was given
	exact  bool                 // a value newer than the loaded one is a conflict: the lock mode says so, or the change comes late
	clock  *Clock
	now    int64 // Unix milliseconds, the access that this request is
	limit  int
	hops   int // renewals followed so far

	late  bool    // loaded so long ago that what it loaded must not meet what is stored: only what it writes does
	later []*edit // of the same group, made on top of this one

	mu    sync.Mutex
	steps []step
	mine  *sessioncodec.Record
	other *sessioncodec.Record // the record that a lost lock met
}

// step is one attribute's part of an edit.
type step struct {
	change   sessioncodec.Change
	reserved bool
	over     sessioncodec.Stamp   // of the value the change was computed on
	stamp    sessioncodec.Stamp   // the newest that this edit gave it
	earlier  []sessioncodec.Stamp // that it gave before
}

// gave tells whether this edit gave that stamp.
func (s *step) gave(stamp sessioncodec.Stamp) bool {
	return stamp == s.stamp || slices.Contains(s.earlier, stamp)
}

// on applies the intent to base, stamped above everything seen, and tells whether that changes anything: a value equal to the stored one
// byte for byte is no change, and costs no write.
func (e *edit) on(base *sessioncodec.Record) (changed bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock.See(base)
	e.mine, e.steps = base, e.plan(base)
	if e.exact && e.conflict(base) {
		return false, errLockLost
	}
	entries := make([]sessioncodec.Entry, 0, len(e.steps))
	steps := e.steps[:0]
	for _, s := range e.steps {
		entry, err := e.stamp(&s, base)
		if err != nil {
			return false, err
		}
		if current, ok := find(base, entry.Name, s.reserved); same(current, ok, entry) {
			continue
		}
		entries, steps = append(entries, entry), append(steps, s)
	}
	e.steps = steps
	mine := base.With(entries...) // which follows the idle time
	mine.Accessed = max(mine.Accessed, e.now)
	// One that is too large already, because parallel changes met or the limit was lowered, may still shrink.
	if e.mine = mine; weight(mine) > max(e.limit, weight(base)) {
		return false, errTooLarge
	}
	return len(entries) > 0 || e.in.touch, nil
}

// same tells whether an entry says what is stored already; deleting what is not there is no change either.
func same(current sessioncodec.Entry, stored bool, entry sessioncodec.Entry) bool {
	if !stored || current.Kind == sessioncodec.Deleted {
		return entry.Kind == sessioncodec.Deleted
	}
	return current.Kind == entry.Kind && bytes.Equal(current.Value, entry.Value)
}

// plan lists the steps: what clear deletes, the changes, then subject and idle.
func (e *edit) plan(base *sessioncodec.Record) []step {
	steps := make([]step, 0, max(len(e.in.changes), 1))
	if e.in.clear {
		named := map[string]bool{}
		for _, c := range e.in.changes {
			named[c.Name] = true
		}
		for _, entry := range base.Entries {
			if entry.Kind != sessioncodec.Deleted && entry.Kind != sessioncodec.Reserved && !named[entry.Name] {
				steps = append(steps, step{change: sessioncodec.Change{Name: entry.Name, Op: sessioncodec.Delete}})
			}
		}
	}
	for _, c := range e.in.changes {
		if e.in.clear && c.Op == sessioncodec.Merge {
			// After a clear there is nothing to merge into: the merge of nothing is put.
			c.Value, _ = sessioncodec.MergePatch(nil, c.Value)
			c.Op, c.Kind = sessioncodec.Put, sessioncodec.JSON
		}
		steps = append(steps, step{change: c})
	}
	if e.in.subject != nil {
		value := binding(*e.in.subject, e.in.epoch)
		steps = append(steps, step{change: sessioncodec.Change{Name: reservedSubject, Op: sessioncodec.Put, Value: value}, reserved: true})
	}
	if e.in.idle != 0 {
		value := strconv.AppendUint(nil, uint64(e.in.idle), 10)
		steps = append(steps, step{change: sessioncodec.Change{Name: reservedIdle, Op: sessioncodec.Put, Value: value}, reserved: true})
	}
	return steps
}

// stamp computes one step over what r holds and gives it a new stamp.
func (e *edit) stamp(s *step, r *sessioncodec.Record) (sessioncodec.Entry, error) {
	current, _ := find(r, s.change.Name, s.reserved)
	s.over = current.Stamp
	if s.stamp != (sessioncodec.Stamp{}) {
		s.earlier = append(s.earlier, s.stamp)
	}
	s.stamp = e.clock.NextIn(r, s.over)
	entry := sessioncodec.Entry{Name: s.change.Name, Stamp: s.stamp}
	switch {
	case s.reserved:
		entry.Kind, entry.Value = sessioncodec.Reserved, s.change.Value
	case s.change.Op == sessioncodec.Delete:
		entry.Kind = sessioncodec.Deleted
	case s.change.Op == sessioncodec.Put:
		entry.Kind, entry.Value = s.change.Kind, s.change.Value
	default:
		var target []byte
		if current.Kind == sessioncodec.JSON {
			target = current.Value
		}
		merged, err := sessioncodec.MergePatch(target, s.change.Value)
		if err != nil {
			return entry, broken(fieldPatch, err.Error())
		}
		entry.Kind, entry.Value = sessioncodec.JSON, merged
	}
	return entry, nil
}

// join is the store's view of the edit: what a node shall hold that holds stored now.
func (e *edit) join(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if stored == nil {
		return e.mine, nil
	}
	e.clock.See(stored)
	if stored.State != sessioncodec.Destroyed {
		if e.exact && e.conflict(stored) {
			e.other = stored
			return nil, errLockLost
		}
		for i := range e.steps {
			if err := e.redo(&e.steps[i], stored); err != nil {
				return nil, err
			}
		}
	}
	if e.late {
		e.mine = e.written()
	}
	e.mine = sessioncodec.Join(e.mine, stored)
	return e.mine, nil
}

// written is the edited record without what was only loaded.
func (e *edit) written() *sessioncodec.Record {
	r := *e.mine
	r.Entries = slices.DeleteFunc(slices.Clone(r.Entries), func(entry sessioncodec.Entry) bool {
		return !slices.ContainsFunc(e.steps, func(s step) bool {
			return s.change.Name == entry.Name && s.reserved == (entry.Kind == sessioncodec.Reserved)
		})
	})
	return &r
}

// record is the edited record as far as the nodes let it be known.
func (e *edit) record() *sessioncodec.Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mine
}

// youngest is the greatest clock of the values that r has for what the edit wrote, 0 when that wrote nothing.
func (e *edit) youngest(r *sessioncodec.Record) (youngest uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.steps {
		entry, _ := find(r, e.steps[i].change.Name, e.steps[i].reserved)
		youngest = max(youngest, entry.Stamp.Clock)
	}
	return youngest
}

// redo merges again where stored has a value that this edit did not see.
func (e *edit) redo(s *step, stored *sessioncodec.Record) error {
	if s.change.Op != sessioncodec.Merge || s.reserved {
		return nil
	}
	entry, ok := stored.Find(s.change.Name)
	if !ok || s.knows(entry.Stamp) || slices.ContainsFunc(e.later, func(l *edit) bool { return l.made(s, entry.Stamp) }) {
		return nil
	}
	entry, err := e.stamp(s, stored)
	if err != nil {
		return err
	}
	e.mine = e.mine.With(entry)
	return nil
}

// knows tells whether a stored value is no news: older than what the step was computed on, or the step's own.
func (s *step) knows(stamp sessioncodec.Stamp) bool {
	return stamp.Compare(s.over) <= 0 || s.gave(stamp)
}

// made tells whether this edit gave that stamp to a value of the same attribute as the step of an earlier edit of its group: then it was computed
// on top of that.
func (e *edit) made(earlier *step, stamp sessioncodec.Stamp) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.steps, func(s step) bool {
		return s.change.Name == earlier.change.Name && s.reserved == earlier.reserved && s.gave(stamp)
	})
}

// conflict tells whether r holds, for an attribute this edit writes, a value newer than the loaded one and not its own (K15). An
// older or missing one is a stale copy, which the write repairs.
func (e *edit) conflict(r *sessioncodec.Record) bool {
	for i := range e.steps {
		s := &e.steps[i]
		entry, ok := find(r, s.change.Name, s.reserved)
		if !ok {
			continue
		}
		loaded, _ := find(e.loaded, s.change.Name, s.reserved)
		if entry.Stamp.Compare(loaded.Stamp) > 0 && !s.knows(entry.Stamp) {
			return true
		}
	}
	return false
}

// giveBack returns the write that undoes a locked commit which met a conflict: a copy that took this edit's values gets the
// other's back, under a new stamp. It is false where nothing was written: the conflict showed before.
func (e *edit) giveBack() (store.Write, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.other == nil {
		return store.Write{}, false
	}
	var back []sessioncodec.Entry
	for _, s := range e.steps {
		if entry, ok := find(e.other, s.change.Name, s.reserved); ok {
			newest := entry.Stamp
			if s.stamp.Compare(newest) > 0 {
				newest = s.stamp
			}
			entry.Stamp = e.clock.Next(newest)
			back = append(back, entry)
		}
	}
	restored := e.other.With(back...)
	return store.Write{Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		return sessioncodec.Join(restored, stored), nil
	}}, true
}

func find(r *sessioncodec.Record, name string, reserved bool) (sessioncodec.Entry, bool) {
	if r == nil {
		return sessioncodec.Entry{}, false
	}
	if reserved {
		return r.FindReserved(name)
	}
	return r.Find(name)
}

// idleOf reads the idle time that the app chose for a session.
func idleOf(entries []sessioncodec.Entry) (seconds uint32, ok bool) {
	for _, e := range entries {
		if e.Kind == sessioncodec.Reserved && e.Name == reservedIdle {
			n, err := strconv.ParseUint(string(e.Value), 10, 32)
			return uint32(n), err == nil
		}
	}
	return 0, false
}

// weight is the size of a session as session.max_size counts it: names and values.
func weight(r *sessioncodec.Record) int {
	n := 0
	for _, e := range r.Entries {
		n += len(e.Name) + len(e.Value) + 8
	}
	return n
}
