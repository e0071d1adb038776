package sessioncodec

import (
	"crypto/sha256"
	"encoding/binary"
)

// ExtClosed is an optional extension without a value, of a renewed session: a request that had it before its renewal does not write any more.
const ExtClosed = 1

// The critical extensions of this version. A reader that does not know one rejects the blob.
const (
	firstCritical = 64
	extOwner      = 64 // u8 length, route, incarnation (8)
	extTo         = 65 // random (16), issued (4)
	extToAt       = 66 // time of the renewal (8)
	extPrev       = 67
	extPrevAt     = 68
)

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

// present tells whether o names a process; an epoch alone does not.
func (o Owner) present() bool { return o.Route != "" || o.Incarnation != 0 }

// extension spells the owner as extension 64 holds it: u8 length, route, incarnation.
func (o Owner) extension() []byte {
	if !o.present() {
		return nil
	}
	return o.appendExtension(make([]byte, 0, 1+len(o.Route)+8))
}

func (o Owner) appendExtension(b []byte) []byte {
	b = append(b, byte(len(o.Route)))
	b = append(b, o.Route...)
	return binary.LittleEndian.AppendUint64(b, o.Incarnation)
}

// hash is the owner as the header names it: the first 4 bytes of SHA-256 of its extension, 0 without an owner.
func (o Owner) hash() uint32 {
	if !o.present() {
		return 0
	}
	var buf [1 + 255 + 8]byte
	sum := sha256.Sum256(o.appendExtension(buf[:0]))
	return binary.LittleEndian.Uint32(sum[:4])
}
