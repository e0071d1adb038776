package sessioncodec

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// idleName is the reserved entry that carries a change of the idle time: the header's idle follows it.
const idleName = "idle"

// Find returns the attribute of that name. A deleted one is found too: its Kind says so.
func (r *Record) Find(name string) (Entry, bool) { return r.find(Entry{Name: name}) }

// FindReserved returns the reserved entry of that name.
func (r *Record) FindReserved(name string) (Entry, bool) {
	return r.find(Entry{Name: name, Kind: Reserved})
}

func (r *Record) find(key Entry) (Entry, bool) {
	i := sort.Search(len(r.Entries), func(i int) bool { return byName(&r.Entries[i], &key) >= 0 })
	if i == len(r.Entries) || byName(&r.Entries[i], &key) != 0 {
		return Entry{}, false
	}
	return r.Entries[i], true
}

// With returns a copy of r in which the given entries are inserted, or stand for those of the same name, whatever the stamps
// say. Of two given entries of one name the last counts. The idle time follows a reserved "idle" entry.
func (r *Record) With(entries ...Entry) *Record {
	add := entries
	if len(add) > 1 {
		add = slices.Clone(add)
		slices.Reverse(add)
		slices.SortStableFunc(add, func(a, b Entry) int { return byName(&a, &b) })
		add = slices.CompactFunc(add, func(a, b Entry) bool { return byName(&a, &b) == 0 })
	}
	w := *r
	w.Entries = union(r.Entries, add, byName, func(_, _ *Entry) int { return -1 })
	w.followIdle()
	return &w
}

// MaxClock returns the greatest clock of any stamp, 0 without entries.
func (r *Record) MaxClock() uint64 {
	var greatest uint64
	for i := range r.Entries {
		greatest = max(greatest, r.Entries[i].Stamp.Clock)
	}
	return greatest
}

// Digest names the set of writes that r holds: the first 8 bytes of SHA-256 over, for each entry in order, a byte that is 1 for
// a reserved entry and else 0, the name after its length as a varint, the stamp's clock and its writer, 8 bytes little-endian
// each. Values need no part in it: a stamp is given to one value only.
func (r *Record) Digest() [8]byte {
	d, _ := digest(make([]byte, 0, 1024), r.Entries)
	return d
}

// digest writes over scratch, and returns what became of it.
func digest(scratch []byte, entries []Entry) ([8]byte, []byte) {
	b := scratch[:0]
	for i := range entries {
		e := &entries[i]
		reserved := byte(0)
		if e.Kind == Reserved {
			reserved = 1
		}
		b = append(b, reserved)
		b = binary.AppendUvarint(b, uint64(len(e.Name)))
		b = append(b, e.Name...)
		b = binary.LittleEndian.AppendUint64(b, e.Stamp.Clock)
		b = binary.LittleEndian.AppendUint64(b, e.Stamp.Writer)
	}
	sum := sha256.Sum256(b)
	return [8]byte(sum[:8]), b
}

// followIdle sets the idle time from the reserved entry, when there is one. A value that is no number of seconds counts as 0;
// Seal refuses it.
func (r *Record) followIdle() {
	if e, ok := r.FindReserved(idleName); ok {
		r.Idle, _ = parseIdle(e.Value)
	}
}

// parseIdle reads decimal seconds in their one spelling.
func parseIdle(value []byte) (seconds uint32, ok bool) {
	n, err := strconv.ParseUint(string(value), 10, 32)
	if err != nil || strconv.FormatUint(n, 10) != string(value) {
		return 0, false
	}
	return uint32(n), true
}

// byName is the order of a record's entries: attributes by the bytes of their names, then reserved entries by theirs. An
// attribute and a reserved entry may share a name.
func byName(a, b *Entry) int {
	if (a.Kind == Reserved) != (b.Kind == Reserved) {
		if b.Kind == Reserved {
			return -1
		}
		return +1
	}
	return strings.Compare(a.Name, b.Name)
}

// byWrite tells which of two entries of one name wins (K2): the greater stamp. Two contents under one stamp cannot happen
// honestly; kind and value then decide, so that the join stays one.
func byWrite(a, b *Entry) int {
	if c := a.Stamp.Compare(b.Stamp); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), bytes.Compare(a.Value, b.Value))
}

func byID(a, b *Extension) int { return cmp.Compare(a.ID, b.ID) }

func byValue(a, b *Extension) int { return bytes.Compare(a.Value, b.Value) }

// union merges two lists that ascend strictly by order; of two elements that are equal in it the greater by rank stays.
func union[T any](a, b []T, order, rank func(x, y *T) int) []T {
	out := make([]T, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch o := order(&a[0], &b[0]); {
		case o < 0:
			out, a = append(out, a[0]), a[1:]
		case o > 0:
			out, b = append(out, b[0]), b[1:]
		case rank(&a[0], &b[0]) < 0:
			out, a, b = append(out, b[0]), a[1:], b[1:]
		default:
			out, a, b = append(out, a[0]), a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// covers tells whether the union of a and b is a.
func covers[T any](a, b []T, order, rank func(x, y *T) int) bool {
	for len(b) > 0 {
		if len(a) < len(b) {
			return false
		}
		switch o := order(&a[0], &b[0]); {
		case o > 0, o == 0 && rank(&a[0], &b[0]) < 0:
			return false
		case o == 0:
			b = b[1:]
		}
		a = a[1:]
	}
	return true
}
