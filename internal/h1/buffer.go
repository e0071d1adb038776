package h1

import (
	"io"
	"sync"
)

const (
	// chunkSize is a read buffer for heads: several of the usual size, or one of them and a small body.
	chunkSize = 8 << 10
	// leastRoom is what a read shall find free, so that a head of the usual size comes with one read.
	leastRoom = 2 << 10
	// bulkSize is a read buffer for bodies that fill a chunk.
	bulkSize = 32 << 10
)

var bulks = sync.Pool{New: func() any { return new([bulkSize]byte) }}

// buffer is what was read from a connection and not used yet: b[r:w]. Heads are not copied, their strings point into b[:kept]: that part is
// never written again, and a full buffer is left to the garbage collector, which knows how long its strings live.
type buffer struct {
	b    []byte
	r, w int
	kept int
	bulk *[bulkSize]byte // what b is while bodies fill it; lent by bulks, so nothing of it is kept
}

func (b *buffer) unread() []byte { return b.b[b.r:b.w] }
func (b *buffer) len() int       { return b.w - b.r }

// fill reads once.
func (b *buffer) fill(from io.Reader) error {
	b.makeRoom(leastRoom)
	return b.read(from)
}

// fillBody reads once as well, into a bulk when the read before has filled what there is.
func (b *buffer) fillBody(from io.Reader) error {
	if b.bulk == nil && b.w == len(b.b) && b.w > 0 && b.len() <= bulkSize/2 {
		bulk := bulks.Get().(*[bulkSize]byte)
		b.move(bulk[:])
		b.bulk = bulk
	}
	b.makeRoom(leastRoom / 4)
	return b.read(from)
}

func (b *buffer) read(from io.Reader) error {
	n, err := from.Read(b.b[b.w:])
	if b.w += n; n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// makeRoom leaves room behind w, as much as is unread at least, so that a long line is not copied over and over.
func (b *buffer) makeRoom(least int) {
	if b.r == b.w {
		b.r, b.w = b.kept, b.kept
	}
	need := max(least, b.len())
	switch {
	case len(b.b)-b.w >= need:
	case b.r-b.kept >= need:
		b.w = b.kept + copy(b.b[b.kept:], b.unread())
		b.r = b.kept
	default:
		b.move(make([]byte, max(chunkSize, b.len()+need)))
		b.lend(nil)
	}
}

// move takes what is unread to another array.
func (b *buffer) move(to []byte) {
	n := copy(to, b.unread())
	b.b, b.r, b.w, b.kept = to, 0, n, 0
}

func (b *buffer) lend(bulk *[bulkSize]byte) {
	if b.bulk != nil {
		bulks.Put(b.bulk)
	}
	b.bulk = bulk
}

// settle gives a bulk back: what follows may be a head.
func (b *buffer) settle() {
	if b.bulk == nil {
		return
	}
	if b.len() == 0 {
		b.b, b.r, b.w, b.kept = nil, 0, 0, 0
	} else {
		b.move(make([]byte, max(chunkSize, b.len()+leastRoom)))
	}
	b.lend(nil)
}

// take returns n unread bytes as a part that is kept.
func (b *buffer) take(n int) []byte {
	part := b.b[b.r : b.r+n : b.r+n]
	b.r += n
	b.kept = b.r
	return part
}

// add appends what was read elsewhere.
func (b *buffer) add(p []byte) {
	if len(p) > 0 {
		b.makeRoom(max(leastRoom, len(p)))
		b.w += copy(b.b[b.w:], p)
	}
}
