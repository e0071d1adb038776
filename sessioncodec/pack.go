package sessioncodec

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
)

// What a packed record has beside its fixed part, as bits above its state.
const (
	packedOwner = 4 << iota
	packedTo
	packedPrev
)

var packing = sync.Pool{New: func() any { return new(scratch) }}

// Pack spells a record in as few bytes as a process needs that keeps many of them in memory: one piece, free of pointers. It is no format:
// Unpack in the same process reads it, and checks nothing.
func Pack(r *Record) []byte {
	s := packing.Get().(*scratch)
	defer packing.Put(s)
	flags := byte(r.State)
	if r.Owner.present() {
		flags |= packedOwner
	}
	if r.To != (Link{}) {
		flags |= packedTo
	}
	if r.Prev != (Link{}) {
		flags |= packedPrev
	}
	b := append(s.payload[:0], flags)
	for _, v := range [...]uint64{
		uint64(r.Created), uint64(r.Accessed - r.Created), uint64(r.Idle), uint64(r.Lifetime), uint64(r.Owner.Epoch),
		uint64(r.Life1), uint64(r.Life2),
	} {
		b = binary.AppendUvarint(b, v)
	}
	if flags&packedOwner != 0 {
		b = r.Owner.appendExtension(b)
	}
	if flags&packedTo != 0 {
		b = packLink(b, &r.To)
	}
	if flags&packedPrev != 0 {
		b = packLink(b, &r.Prev)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Extensions)))
	for _, x := range r.Extensions {
		b = appendExtension(b, x.ID, x.Value)
	}
	s.payload = packEntries(b, r, s)
	return bytes.Clone(s.payload)
}

func packLink(b []byte, l *Link) []byte {
	b = append(b, l.Random[:]...)
	b = binary.LittleEndian.AppendUint32(b, l.Issued)
	return binary.LittleEndian.AppendUint64(b, uint64(l.At))
}

// packEntries appends the writers, what each entry has beside name and value, then all names and all values: so the names become one string.
func packEntries(b []byte, r *Record, s *scratch) []byte {
	s.writers = s.writers[:0]
	names := 0
	for i := range r.Entries {
		if !slices.Contains(s.writers, r.Entries[i].Stamp.Writer) {
			s.writers = append(s.writers, r.Entries[i].Stamp.Writer)
		}
		names += len(r.Entries[i].Name)
	}
	b = binary.AppendUvarint(b, uint64(len(s.writers)))
	for _, w := range s.writers {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Entries)))
	b = binary.AppendUvarint(b, uint64(names))
	for i := range r.Entries {
		e := &r.Entries[i]
		b = append(b, byte(e.Kind))
		b = binary.AppendUvarint(b, e.Stamp.Clock-uint64(r.Created))
		b = binary.AppendUvarint(b, uint64(slices.Index(s.writers, e.Stamp.Writer)))
		b = binary.AppendUvarint(b, uint64(len(e.Name)))
		b = binary.AppendUvarint(b, uint64(len(e.Value)))
	}
	for i := range r.Entries {
		b = append(b, r.Entries[i].Name...)
	}
	for i := range r.Entries {
		b = append(b, r.Entries[i].Value...)
	}
	return b
}

// Unpack reads what Pack made. The values of the result lie in packed.
func Unpack(packed []byte) *Record {
	in := reader{rest: packed}
	flags := in.byte()
	r := &Record{State: State(flags & 3), Created: int64(in.long())}
	r.Accessed = r.Created + int64(in.long())
	r.Idle, r.Lifetime, r.Owner.Epoch = uint32(in.long()), uint32(in.long()), uint32(in.long())
	r.Life1, r.Life2 = uint32(in.long()), uint32(in.long())
	if flags&packedOwner != 0 {
		r.Owner.Route = string(in.take(uint64(in.byte())))
		r.Owner.Incarnation = binary.LittleEndian.Uint64(in.take(8))
	}
	if flags&packedTo != 0 {
		r.To = unpackLink(&in)
	}
	if flags&packedPrev != 0 {
		r.Prev = unpackLink(&in)
	}
	if n := in.long(); n > 0 {
		r.Extensions = make([]Extension, n)
	}
	for i := range r.Extensions {
		r.Extensions[i].ID = in.long()
		r.Extensions[i].Value = in.take(in.long())
	}
	unpackEntries(&in, r)
	return r
}

func unpackLink(in *reader) Link {
	return Link{
		Random: [16]byte(in.take(16)), Issued: binary.LittleEndian.Uint32(in.take(4)), At: int64(binary.LittleEndian.Uint64(in.take(8))),
	}
}

func unpackEntries(in *reader, r *Record) {
	writers := in.take(8 * in.long())
	count, size := in.long(), in.long()
	if count == 0 {
		return
	}
	r.Entries = make([]Entry, count)
	table := *in
	for range r.Entries { // find where the names begin
		in.byte()
		for range 4 {
			in.long()
		}
	}
	names := string(in.take(size))
	for i := range r.Entries {
		e := &r.Entries[i]
		e.Kind = Kind(table.byte())
		e.Stamp.Clock = uint64(r.Created) + table.long()
		e.Stamp.Writer = binary.LittleEndian.Uint64(writers[8*table.long():])
		n := table.long()
		e.Name, names = names[:n], names[n:]
		if n = table.long(); n > 0 {
			e.Value = in.take(n)
		}
	}
}
