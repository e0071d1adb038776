package sessioncodec

import (
	"encoding/binary"
	"math"
	"slices"
)

const minEntry = 6 // bytes: kind, four varints, a name of one

// scratch is reused between calls; nothing of a result lies in it.
type scratch struct {
	payload, body, aad, digest, ext []byte
	derived                         [32]byte
	writers                         []uint64
	used                            []bool
	names                           []byte
	nameLens                        []int
}

// appendPayload spells the record; r is valid.
func appendPayload(b []byte, r *Record, s *scratch) []byte {
	b = appendExtensions(b, r, s)
	s.writers = s.writers[:0]
	for i := range r.Entries {
		s.writers = append(s.writers, r.Entries[i].Stamp.Writer)
	}
	slices.Sort(s.writers)
	s.writers = slices.Compact(s.writers)
	b = binary.AppendUvarint(b, uint64(len(s.writers)))
	for _, w := range s.writers {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	for i := range r.Entries {
		e := &r.Entries[i]
		writer, _ := slices.BinarySearch(s.writers, e.Stamp.Writer)
		b = append(b, byte(e.Kind))
		b = binary.AppendUvarint(b, e.Stamp.Clock-uint64(r.Created))
		b = binary.AppendUvarint(b, uint64(writer))
		b = binary.AppendUvarint(b, uint64(len(e.Name)))
		b = append(b, e.Name...)
		b = binary.AppendUvarint(b, uint64(len(e.Value)))
		b = append(b, e.Value...)
	}
	return b
}

// parsePayload fills in the rest of r, whose header part is known. Values point into p; names are one string of their own.
func parsePayload(p []byte, r *Record, s *scratch) error {
	in := reader{rest: p}
	if err := parseExtensions(&in, r); err != nil {
		return err
	}
	if err := parseEntries(&in, r, s); err != nil {
		return err
	}
	if len(in.rest) > 0 {
		return fail(ClassLength, "bytes after the last entry")
	}
	return r.check()
}

func parseEntries(in *reader, r *Record, s *scratch) error {
	writers, count, err := parseTable(in)
	if err != nil {
		return err
	}
	s.used = slices.Grow(s.used[:0], len(writers)/8)[:len(writers)/8]
	clear(s.used)
	s.names, s.nameLens = s.names[:0], s.nameLens[:0]
	if count > 0 {
		r.Entries = make([]Entry, count)
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		e.Kind = Kind(in.byte())
		delta, writer := in.long(), in.short()
		name := in.take(in.short())
		e.Value = in.take(in.short())
		switch {
		case in.err != nil:
			return in.err
		case len(name) > MaxName:
			return fail(ClassLimit, "a name longer than this codec handles")
		case writer >= uint64(len(s.used)):
			return fail(ClassCanonical, "a writer that is not in the table")
		case delta > math.MaxUint64-uint64(r.Created):
			return fail(ClassCanonical, "a clock beyond 64 bits")
		}
		s.used[writer] = true
		e.Stamp = Stamp{uint64(r.Created) + delta, binary.LittleEndian.Uint64(writers[8*writer:])}
		s.names, s.nameLens = append(s.names, name...), append(s.nameLens, len(name))
	}
	if slices.Contains(s.used, false) {
		return fail(ClassCanonical, "a writer that no entry names")
	}
	names := string(s.names)
	for i, n := range s.nameLens {
		r.Entries[i].Name, names = names[:n], names[n:]
	}
	return nil
}

// parseTable reads the writers, 8 bytes each, and the number of entries.
func parseTable(in *reader) (writers []byte, count uint64, err error) {
	n := in.short()
	if n > MaxEntries {
		return nil, 0, fail(ClassLimit, "too many writers")
	}
	writers = in.take(8 * n)
	for w := writers; len(w) > 8; w = w[8:] {
		if binary.LittleEndian.Uint64(w) >= binary.LittleEndian.Uint64(w[8:]) {
			return nil, 0, fail(ClassCanonical, "writers that do not ascend")
		}
	}
	switch count = in.short(); {
	case in.err != nil:
		return nil, 0, in.err
	case count > MaxEntries:
		return nil, 0, fail(ClassLimit, "too many entries")
	case count > uint64(len(in.rest)/minEntry):
		return nil, 0, fail(ClassLength, "fewer bytes than so many entries take")
	}
	return writers, count, nil
}
