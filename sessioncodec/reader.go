package sessioncodec

import (
	"encoding/binary"
	"math"
)

// reader takes fields off the front of a payload. After the first failure it yields zeros.
type reader struct {
	rest []byte
	err  error
}

func (in *reader) stop(class, detail string) {
	if in.err == nil {
		in.err = fail(class, detail)
	}
	in.rest = nil
}

func (in *reader) byte() byte {
	if b := in.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

// take returns the next n bytes, which the caller must not append to.
func (in *reader) take(n uint64) []byte {
	if n > uint64(len(in.rest)) {
		in.stop(ClassLength, "a field runs past the end")
		return nil
	}
	b := in.rest[:n:n]
	in.rest = in.rest[n:]
	return b
}

// long reads a varint of up to 64 bits in its shortest form.
func (in *reader) long() uint64 {
	if len(in.rest) > 0 && in.rest[0] < 0x80 { // as most are
		v := in.rest[0]
		in.rest = in.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(in.rest)
	switch {
	case n == 0:
		in.stop(ClassLength, "a varint runs past the end")
		return 0
	case n < 0, n > 1 && in.rest[n-1] == 0:
		in.stop(ClassCanonical, "a varint beyond 64 bits or not in its shortest form")
		return 0
	}
	in.rest = in.rest[n:]
	return v
}

// short reads a varint of up to 32 bits: counts, ids, indexes and lengths.
func (in *reader) short() uint64 {
	v := in.long()
	if v > math.MaxUint32 {
		in.stop(ClassCanonical, "a varint beyond 32 bits")
		return 0
	}
	return v
}
