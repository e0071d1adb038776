package sessioncodec

import (
	"bytes"
	"cmp"
	"slices"
)

// Join merges two copies of one session (K2): neither is chosen, each part of the result is the greater of its two. It is
// idempotent, commutative and associative, so late, doubled and reordered writes do no harm. nil is its identity.
//
//   - An entry is the one of the greater stamp; names that only one copy has are kept.
//   - State and Accessed are the maximum, Created and Lifetime the minimum.
//   - Owner is the greatest by epoch, owner hash and the bytes of its extension, taken whole.
//   - A link is the greatest by time of renewal, random and issued.
//   - Idle is the minimum, unless a reserved "idle" entry decides it.
//   - Of two extensions with one id the greater bytes stay.
//   - Destroyed absorbs everything but Created, Accessed and Lifetime.
//   - Life1 and Life2 are no part of the session: the result has a's.
//
// Join changes neither argument; the result shares their values, and is a itself when b adds nothing to it.
func Join(a, b *Record) *Record {
	switch {
	case b == nil || a == b:
		return a
	case a == nil:
		return b
	}
	j := Record{
		State:    max(a.State, b.State),
		Created:  min(a.Created, b.Created),
		Accessed: max(a.Accessed, b.Accessed),
		Lifetime: min(a.Lifetime, b.Lifetime),
		Life1:    a.Life1,
		Life2:    a.Life2,
	}
	if j.State != Destroyed {
		j.Idle = min(a.Idle, b.Idle)
		j.Owner = maxOwner(a.Owner, b.Owner)
		j.To = maxLink(a.To, b.To)
		j.Prev = maxLink(a.Prev, b.Prev)
		j.Entries = joinSorted(a.Entries, b.Entries, byName, byWrite)
		j.Extensions = joinSorted(a.Extensions, b.Extensions, byID, byValue)
		j.followIdle()
	}
	if j.Same(a) {
		return a
	}
	joined := j // only a result that is new reaches the heap
	return &joined
}

// Same tells whether r and o are the same state of a session. The lives of nodes are no part of it; the last access is.
func (r *Record) Same(o *Record) bool {
	if r == nil || o == nil {
		return r == o
	}
	return r.State == o.State &&
		r.Created == o.Created && r.Accessed == o.Accessed && r.Idle == o.Idle && r.Lifetime == o.Lifetime &&
		r.Owner == o.Owner && r.To == o.To && r.Prev == o.Prev &&
		(sharing(r.Entries, o.Entries) || slices.EqualFunc(r.Entries, o.Entries, func(x, y Entry) bool {
			return x.Name == y.Name && x.Kind == y.Kind && x.Stamp == y.Stamp && bytes.Equal(x.Value, y.Value)
		})) &&
		slices.EqualFunc(r.Extensions, o.Extensions, func(x, y Extension) bool {
			return x.ID == y.ID && bytes.Equal(x.Value, y.Value)
		})
}

// tombstone is what a destroyed session leaves: enough to answer for it until the item expires.
func (r *Record) tombstone() Record {
	return Record{
		State: Destroyed, Created: r.Created, Accessed: r.Accessed, Lifetime: r.Lifetime, Life1: r.Life1, Life2: r.Life2,
	}
}

// joinSorted is a union that returns one of its arguments when that holds the other.
func joinSorted[T any](a, b []T, order, rank func(x, y *T) int) []T {
	switch {
	case sharing(a, b), covers(a, b, order, rank):
		return a
	case covers(b, a, order, rank):
		return b
	}
	return union(a, b, order, rank)
}

// sharing tells whether a and b are one list in memory, as of records that were made of each other.
func sharing[T any](a, b []T) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

func maxOwner(a, b Owner) Owner {
	order := cmp.Compare(a.Epoch, b.Epoch)
	if order == 0 && a != b {
		order = cmp.Or(cmp.Compare(a.hash(), b.hash()), bytes.Compare(a.extension(), b.extension()))
	}
	if order < 0 {
		return b
	}
	return a
}

func maxLink(a, b Link) Link {
	if cmp.Or(cmp.Compare(a.At, b.At), bytes.Compare(a.Random[:], b.Random[:]), cmp.Compare(a.Issued, b.Issued)) >= 0 {
		return a
	}
	return b
}
