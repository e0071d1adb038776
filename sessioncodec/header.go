package sessioncodec

import (
	"encoding/binary"
	"math"
)

const (
	headerLen = 72
	crcLen    = 4
	version   = 1

	protectCRC  = 0
	protectXAES = 2

	flagDestroyed  = 1
	flagSuperseded = 2
)

var magic = [2]byte{0xB5, 0x50}

// header is the clear part of a blob. It is authenticated with the rest and repeats facts of the payload, so that two copies can
// be compared without opening them.
type header struct {
	compression, protection byte
	rawLen                  uint32
	keyID                   uint32
	flags                   uint32 // byte 12 and the three zero bytes
	epoch, owner            uint32
	clock                   uint64
	digest                  [8]byte
	created, accessed       uint64
	idle, lifetime          uint32
	life1, life2            uint32
}

// headerOf fills in what the record says; lengths, algorithms and key are the codec's.
func headerOf(r *Record, scratch *[]byte) header {
	h := header{
		epoch: r.Owner.Epoch, owner: r.Owner.hash(),
		clock:   r.MaxClock(),
		created: uint64(r.Created), accessed: uint64(r.Accessed),
		idle: r.Idle, lifetime: r.Lifetime,
		life1: r.Life1, life2: r.Life2,
	}
	h.digest, *scratch = digest(*scratch, r.Entries)
	switch r.State {
	case Superseded:
		h.flags = flagSuperseded
	case Destroyed:
		h.flags = flagDestroyed
	}
	return h
}

func (h *header) append(b []byte) []byte {
	le := binary.LittleEndian
	b = append(b, magic[0], magic[1], version, h.protection<<4|h.compression)
	for _, v := range [...]uint32{h.rawLen, h.keyID, h.flags, h.epoch, h.owner} {
		b = le.AppendUint32(b, v)
	}
	b = le.AppendUint64(b, h.clock)
	b = append(b, h.digest[:]...)
	b = le.AppendUint64(b, h.created)
	b = le.AppendUint64(b, h.accessed)
	for _, v := range [...]uint32{h.idle, h.lifetime, h.life1, h.life2} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// parseHeader checks what must be known before the protection can be: everything else waits until it is authenticated.
func parseHeader(blob []byte) (h header, err error) {
	switch {
	case len(blob) < headerLen+crcLen:
		return h, fail(ClassTruncated, "shorter than a header")
	case [2]byte(blob) != magic:
		return h, fail(ClassMagic, "not a session blob")
	case blob[2] != version:
		return h, fail(ClassVersion, "a newer layout: upgrade the readers of a space before its writers")
	}
	le := binary.LittleEndian
	h = header{
		compression: blob[3] & 15, protection: blob[3] >> 4,
		rawLen: le.Uint32(blob[4:]), keyID: le.Uint32(blob[8:]), flags: le.Uint32(blob[12:]),
		epoch: le.Uint32(blob[16:]), owner: le.Uint32(blob[20:]),
		clock: le.Uint64(blob[24:]), digest: [8]byte(blob[32:]),
		created: le.Uint64(blob[40:]), accessed: le.Uint64(blob[48:]),
		idle: le.Uint32(blob[56:]), lifetime: le.Uint32(blob[60:]),
		life1: le.Uint32(blob[64:]), life2: le.Uint32(blob[68:]),
	}
	if knownAlgos>>h.compression&1 == 0 || (h.protection != protectCRC && h.protection != protectXAES) {
		return h, fail(ClassAlgorithm, "an unknown compression or protection")
	}
	return h, nil
}

// check is for an authenticated header: it accepts only what a writer makes.
func (h *header) check() error {
	switch {
	case h.flags&^(flagDestroyed|flagSuperseded) != 0, h.flags == flagDestroyed|flagSuperseded:
		return fail(ClassHeader, "unknown or contradicting flags, or reserved bytes that are not zero")
	case h.created > math.MaxInt64, h.accessed > math.MaxInt64:
		return fail(ClassHeader, "a time that does not fit 63 bits")
	case h.protection == protectCRC && h.keyID != 0:
		return fail(ClassHeader, "a key without a sealed body")
	case (h.flags == flagDestroyed) != (h.rawLen == 0):
		return fail(ClassHeader, "only a destroyed session has no payload, and it has none")
	case h.rawLen == 0 && h.compression != plain:
		return fail(ClassHeader, "a compressed body without a payload")
	case h.flags == flagDestroyed && (h.idle != 0 || h.epoch != 0):
		return fail(ClassHeader, "a destroyed session with an idle time or an epoch")
	}
	return nil
}

// record is the part of a Record that the header holds.
func (h *header) record() Record {
	r := Record{
		Created: int64(h.created), Accessed: int64(h.accessed),
		Idle: h.idle, Lifetime: h.lifetime,
		Life1: h.life1, Life2: h.life2,
		Owner: Owner{Epoch: h.epoch},
	}
	switch h.flags {
	case flagSuperseded:
		r.State = Superseded
	case flagDestroyed:
		r.State = Destroyed
	}
	return r
}

// agrees tells whether the header says of r what a writer would have said.
func (h *header) agrees(r *Record, scratch *[]byte) bool {
	want := headerOf(r, scratch)
	return h.owner == want.owner && h.clock == want.clock && h.digest == want.digest
}
