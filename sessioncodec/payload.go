package sessioncodec

import (
	"encoding/binary"
	"math"
	"slices"
	"unicode/utf8"
)

// The critical extensions of this version. A reader that does not know one rejects the blob.
const (
	firstCritical = 64
	extOwner      = 64 // u8 length, route, incarnation (8)
	extTo         = 65 // random (16), issued (4)
	extToAt       = 66 // time of the renewal (8)
	extPrev       = 67
	extPrevAt     = 68
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

func appendExtensions(b []byte, r *Record, s *scratch) []byte {
	b = binary.AppendUvarint(b, uint64(r.extensionCount()))
	for _, x := range r.Extensions {
		b = appendExtension(b, x.ID, x.Value)
	}
	if r.Owner.present() {
		s.ext = r.Owner.appendExtension(s.ext[:0])
		b = appendExtension(b, extOwner, s.ext)
	}
	b = appendLink(b, extTo, &r.To, s)
	return appendLink(b, extPrev, &r.Prev, s)
}

func appendLink(b []byte, id uint64, l *Link, s *scratch) []byte {
	if *l == (Link{}) {
		return b
	}
	s.ext = binary.LittleEndian.AppendUint32(append(s.ext[:0], l.Random[:]...), l.Issued)
	b = appendExtension(b, id, s.ext)
	return appendExtension(b, id+1, binary.LittleEndian.AppendUint64(s.ext[:0], uint64(l.At)))
}

func appendExtension(b []byte, id uint64, value []byte) []byte {
	b = binary.AppendUvarint(b, id)
	b = binary.AppendUvarint(b, uint64(len(value)))
	return append(b, value...)
}

func (r *Record) extensionCount() int {
	n := len(r.Extensions)
	if r.Owner.present() {
		n++
	}
	for _, l := range [...]*Link{&r.To, &r.Prev} {
		if *l != (Link{}) {
			n += 2
		}
	}
	return n
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

func parseExtensions(in *reader, r *Record) error {
	count := in.short()
	if count > MaxExtensions {
		return fail(ClassLimit, "too many extensions")
	}
	var links [4][]byte
	var last uint64
	for i := range count {
		id := in.short()
		value := in.take(in.short())
		switch {
		case in.err != nil:
			return in.err
		case i > 0 && id <= last:
			return fail(ClassCanonical, "extensions that do not ascend")
		case id < firstCritical:
			r.Extensions = append(r.Extensions, Extension{ID: id, Value: value})
		case id == extOwner:
			if !r.Owner.parse(value) {
				return fail(ClassCanonical, "a malformed owner")
			}
		case id <= extPrevAt:
			links[id-extTo] = value
		default:
			return fail(ClassCritical, "an unknown critical extension: upgrade the readers of a space before its writers")
		}
		last = id
	}
	if !r.To.parse(links[0], links[1]) || !r.Prev.parse(links[2], links[3]) {
		return fail(ClassCanonical, "a malformed link")
	}
	return in.err
}

func (o *Owner) parse(ext []byte) bool {
	if len(ext) < 9 || len(ext) != 1+int(ext[0])+8 {
		return false
	}
	route := ext[1 : len(ext)-8]
	o.Route, o.Incarnation = string(route), binary.LittleEndian.Uint64(ext[len(ext)-8:])
	return o.present()
}

// parse reads the two extensions of a link: both or none are there.
func (l *Link) parse(name, at []byte) bool {
	if name == nil && at == nil {
		return true
	}
	if len(name) != 20 || len(at) != 8 {
		return false
	}
	*l = Link{[16]byte(name), binary.LittleEndian.Uint32(name[16:]), int64(binary.LittleEndian.Uint64(at))}
	return *l != Link{}
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

// check is what Seal asks of a record and Open of a payload: one spelling for each, and nothing that the header contradicts.
func (r *Record) check() error {
	if r.Created < 0 || r.Accessed < 0 || r.State > Destroyed || len(r.Owner.Route) > 255 {
		return fail(ClassHeader, "a negative time, an unknown state or a route over 255 bytes")
	}
	if r.extensionCount() > MaxExtensions || len(r.Entries) > MaxEntries {
		return fail(ClassLimit, "too many extensions or entries")
	}
	for i := range r.Extensions {
		if r.Extensions[i].ID >= firstCritical || (i > 0 && byID(&r.Extensions[i-1], &r.Extensions[i]) >= 0) {
			return fail(ClassCanonical, "extensions that do not ascend below 64")
		}
	}
	for i := range r.Entries {
		if err := r.Entries[i].check(r); err != nil {
			return err
		}
		if i > 0 && byName(&r.Entries[i-1], &r.Entries[i]) >= 0 {
			return fail(ClassCanonical, "entries that do not ascend")
		}
	}
	return nil
}

func (e *Entry) check(r *Record) error {
	switch {
	case len(e.Name) > MaxName:
		return fail(ClassLimit, "a name longer than this codec handles")
	case e.Name == "" || !utf8.ValidString(e.Name):
		return fail(ClassCanonical, "a name that is empty or not UTF-8")
	case e.Kind == Deleted && len(e.Value) > 0:
		return fail(ClassCanonical, "a deleted entry with a value")
	case e.Stamp.Clock < uint64(r.Created):
		return fail(ClassCanonical, "a write before the session was created: the writer did not raise its clock")
	case e.Kind == Reserved && e.Name == idleName:
		if idle, ok := parseIdle(e.Value); !ok || idle != r.Idle {
			return fail(ClassCanonical, "an idle entry that is no number of seconds, or not the header's")
		}
	}
	return nil
}

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
