package sessioncodec

import (
	"cmp"
	"time"
)

// Limits of the format. A writer refuses more, a reader rejects it.
const (
	MaxEntries    = 4096
	MaxName       = 1024
	MaxExtensions = 64
	MaxRaw        = 4 << 20
)

// Stamp orders the writes of one attribute: the greater one wins.
type Stamp struct {
	Clock  uint64 // hybrid clock, Unix milliseconds
	Writer uint64 // incarnation of the writing process
}

// Compare returns -1, 0 or +1: by clock, then by writer.
func (s Stamp) Compare(t Stamp) int {
	if c := cmp.Compare(s.Clock, t.Clock); c != 0 {
		return c
	}
	return cmp.Compare(s.Writer, t.Writer)
}

// Kind says what the value of an entry is.
type Kind uint8

// The kinds of this version. Greater ones are kept on rewrite and never injected.
const (
	JSON     Kind = 0 // JSON text, UTF-8, no whitespace between tokens
	Opaque   Kind = 1 // bytes
	Deleted  Kind = 2 // no value; the stamp remembers the deletion while it can matter
	Reserved Kind = 3 // a name of Pillion's own (idle, subject); never injected
)

// Entry is one attribute of a session. Values are shared between records and never changed in place.
type Entry struct {
	Name  string
	Kind  Kind
	Stamp Stamp
	Value []byte
}

// State of a session; the maximum wins a join.
type State uint8

// The states, in their order.
const (
	Live State = iota
	Superseded
	Destroyed
)

// Owner is the sidecar process that alone serves a sticky session from memory. The zero Owner is shared mode's.
type Owner struct {
	Epoch       uint32 // how often the session was taken over
	Route       string
	Incarnation uint64
}

// Link names a neighbour in a chain of renewals. The zero Link is none.
type Link struct {
	Random [16]byte
	Issued uint32 // Unix seconds
	At     int64  // Unix milliseconds of the renewal
}

// Extension is a field of the payload that this version does not interpret (ids below 64); it survives a rewrite.
type Extension struct {
	ID    uint64
	Value []byte
}

// Record is one session as the ring keeps it. A Record that others can see is never changed: With and Join return new ones.
type Record struct {
	State      State
	Created    int64  // Unix milliseconds, fixed at birth
	Accessed   int64  // Unix milliseconds
	Idle       uint32 // seconds
	Lifetime   uint32 // seconds, fixed at birth
	Life1      uint32 // lives of the nodes that held the two copies when this blob was sealed; not part of the join
	Life2      uint32
	Owner      Owner
	To, Prev   Link
	Entries    []Entry // attributes ascending by name, then reserved entries ascending by name
	Extensions []Extension
}

// Expired tells whether nobody can come back to the session: slack is how far the stored last access may lag behind.
func (r *Record) Expired(now time.Time, slack time.Duration) bool {
	// Unsigned: no stored time, however far ahead, overflows.
	t := uint64(max(now.UnixMilli(), 0))
	return t > uint64(r.Accessed)+uint64(r.Idle)*1000+uint64(slack.Milliseconds()) ||
		t > uint64(r.Created)+uint64(r.Lifetime)*1000
}
