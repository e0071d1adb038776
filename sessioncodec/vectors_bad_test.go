package sessioncodec

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

// forge protects any header and body well, so that what is behind the protection is reached.
type forge struct {
	t      testing.TB
	nonces *fixedNonce
	out    []vector
}

// badVectors are blobs that every reader rejects, with the class it must name.
func badVectors(t testing.TB) []vector {
	f := &forge{t: t, nonces: &fixedNonce{100}}
	f.blobs()
	f.headers()
	f.bodies()
	f.payloads()
	return f.out
}

// raw adds a blob as it is.
func (f *forge) raw(class, name string, blob []byte, keys ...int) *vector {
	v := newVector(class+": "+name, keys...)
	v.Blob, v.Error = hex.EncodeToString(blob), class
	f.out = append(f.out, v)
	return &f.out[len(f.out)-1]
}

// sealed adds a header and a body under key 1, or clear without it.
func (f *forge) sealed(class, name string, h header, body []byte, keys ...int) *vector {
	v := newVector("", keys...)
	c := v.codec(f.t, CompressNone)
	c.random = f.nonces
	if h.keyID == 0 {
		h.keyID = c.sealID
	}
	if c.sealID != 0 {
		h.protection = protectXAES
	}
	blob, err := c.protect(&h, body, testKey, new(scratch))
	if err != nil {
		f.t.Fatal(err)
	}
	return f.raw(class, name, blob, keys...)
}

// good is a record, its header and its payload.
func good() (r *Record, h header, payload []byte) {
	r = born1(Entry{Name: "a", Value: []byte("1")}, Entry{Name: "b", Value: []byte("2"), Stamp: Stamp{born + 1, 5}})
	payload = appendPayload(nil, r, new(scratch))
	h = headerOf(r, new([]byte))
	h.rawLen = uint32(len(payload))
	return r, h, payload
}

func (f *forge) blobs() {
	r, _, _ := good()
	seal := func(o Options) []byte {
		c := newCodec(f.t, o)
		c.random = f.nonces
		blob, err := c.Seal(testKey, r)
		if err != nil {
			f.t.Fatal(err)
		}
		return blob
	}
	clear, sealed := seal(Options{}), seal(Options{Seal: secret(1)})
	with := func(blob []byte, at int, b byte) []byte {
		blob = bytes.Clone(blob)
		blob[at] = b
		return blob
	}
	f.raw(ClassTruncated, "nothing", nil)
	f.raw(ClassTruncated, "one byte short of a header and a CRC", clear[:headerLen+crcLen-1])
	f.raw(ClassTruncated, "one byte short of a seal", sealed[:headerLen+nonceLen+tagLen-1], 1)
	f.raw(ClassMagic, "JSON", []byte(`{"cart":"`+strings.Repeat("x", 100)+`"}`))
	f.raw(ClassMagic, "half of it", with(clear, 1, 0x51))
	f.raw(ClassVersion, "the next one", with(clear, 2, 2))
	f.raw(ClassAlgorithm, "a reserved compression", with(clear, 3, 2))
	f.raw(ClassAlgorithm, "a reserved protection", with(sealed, 3, 0x10), 1)
	f.raw(ClassAlgorithm, "clear, where keys are configured", clear, 1)
	f.raw(ClassKey, "unknown", sealed, 7)
	f.raw(ClassKey, "none configured", sealed)
	f.raw(ClassKey, "id 0", with(sealed, 8, 0), 1)
	f.raw(ClassAuth, "the id of another key", with(sealed, 8, 7), 1, 7)
	f.raw(ClassAuth, "a later last access", with(sealed, 50, sealed[50]+1), 1)
	f.raw(ClassAuth, "a superseded flag", with(sealed, 12, flagSuperseded), 1)
	f.raw(ClassAuth, "the nonce", with(sealed, headerLen, sealed[headerLen]^1), 1)
	f.raw(ClassAuth, "the body", with(sealed, headerLen+nonceLen, sealed[headerLen+nonceLen]^1), 1)
	f.raw(ClassAuth, "the tag", with(sealed, len(sealed)-1, sealed[len(sealed)-1]^1), 1)
	f.raw(ClassAuth, "cut", sealed[:len(sealed)-1], 1)
	f.raw(ClassAuth, "under the storage key of another session", sealed, 1).StorageKey = strings.ToUpper(testKey)
	f.raw(ClassAuth, "in another space", sealed, 1).Space = "shop2"
	f.raw(ClassChecksum, "the header", with(clear, 50, clear[50]+1))
	f.raw(ClassChecksum, "the body", with(clear, headerLen, clear[headerLen]^1))
	f.raw(ClassChecksum, "cut", clear[:len(clear)-1])
	f.raw(ClassChecksum, "under the storage key of another session", clear).StorageKey = strings.ToUpper(testKey)
	f.raw(ClassChecksum, "in another space", clear).Space = "shop2"
	small := f.raw(ClassLimit, "raw_len over the reader's", clear)
	small.MaxRaw = 10
}

func (f *forge) headers() {
	forged := func(class, name string, change func(h *header), keys ...int) {
		_, h, payload := good()
		change(&h)
		f.sealed(class, name, h, payload, keys...)
	}
	forged(ClassHeader, "a reserved byte", func(h *header) { h.flags = 1 << 8 }, 1)
	forged(ClassHeader, "the last reserved byte, clear", func(h *header) { h.flags = 1 << 31 })
	forged(ClassHeader, "an unknown flag", func(h *header) { h.flags = 4 }, 1)
	forged(ClassHeader, "destroyed and superseded", func(h *header) { h.flags = 3 }, 1)
	forged(ClassHeader, "created beyond 63 bits", func(h *header) { h.created = 1 << 63 }, 1)
	forged(ClassHeader, "accessed beyond 63 bits", func(h *header) { h.accessed = 1 << 63 }, 1)
	forged(ClassHeader, "a key id without a seal", func(h *header) { h.keyID = 1 })
	forged(ClassHeader, "destroyed, with a payload", func(h *header) { h.flags = flagDestroyed }, 1)
	forged(ClassHeader, "live, without a payload", func(h *header) { h.rawLen = 0 }, 1)
	forged(ClassCanonical, "another owner than the payload's", func(h *header) { h.owner = 1 }, 1)
	forged(ClassCanonical, "another greatest clock", func(h *header) { h.clock++ }, 1)
	forged(ClassCanonical, "another digest", func(h *header) { h.digest[7] ^= 1 }, 1)
	forged(ClassCanonical, "another creation, so other clocks", func(h *header) { h.created-- }, 1)
	tombstone := func(class, name string, change func(h *header), body string) {
		h := headerOf(&Record{State: Destroyed, Created: born, Accessed: born}, new([]byte))
		change(&h)
		f.sealed(class, name, h, []byte(body), 1)
	}
	tombstone(ClassHeader, "destroyed, with an idle time", func(h *header) { h.idle = 1 }, "")
	tombstone(ClassHeader, "destroyed, with an epoch", func(h *header) { h.epoch = 1 }, "")
	tombstone(ClassHeader, "destroyed, compressed", func(h *header) { h.compression = snappyRaw }, "")
	tombstone(ClassCanonical, "destroyed, with an owner", func(h *header) { h.owner = 1 }, "")
	tombstone(ClassCanonical, "destroyed, with a digest of zero", func(h *header) { h.digest = [8]byte{} }, "")
	tombstone(ClassLength, "destroyed, with a body", func(h *header) {}, "x")
}

func (f *forge) bodies() {
	c := newCodec(f.t, Options{Compression: CompressZstd})
	encoder, err := c.encoder()
	if err != nil {
		f.t.Fatal(err)
	}
	payload := appendPayload(nil, cart(12, 300), new(scratch))
	snappy, zstd := s2.EncodeSnappy(nil, payload), encoder.EncodeAll(payload, nil)
	compressed := func(class, name string, algorithm byte, rawLen int, body []byte) {
		h := headerOf(cart(12, 300), new([]byte))
		h.compression, h.rawLen = algorithm, uint32(rawLen)
		f.sealed(class, name, h, body, 1)
	}
	n := len(payload)
	compressed(ClassCompression, "Snappy, cut", snappyRaw, n, snappy[:len(snappy)-1])
	compressed(ClassCompression, "Snappy, a copy from before the beginning", snappyRaw, 8, []byte{8, 0, 'a', 0x01 | 3<<2, 9})
	compressed(ClassCompression, "Snappy, more than it says", snappyRaw, 4, []byte{4, 4 << 2, 'a', 'b', 'c', 'd', 'e'})
	compressed(ClassCompression, "zstd, cut", zstdFrame, n, zstd[:len(zstd)-1])
	compressed(ClassCompression, "zstd, no frame", zstdFrame, n, payload)
	compressed(ClassLength, "Snappy, another length", snappyRaw, n+1, snappy)
	compressed(ClassLength, "zstd, less than raw_len", zstdFrame, n+1, zstd)
	compressed(ClassLength, "zstd, more than raw_len", zstdFrame, n-1, zstd)
	compressed(ClassLength, "more than raw_len", plain, n-1, payload)
	compressed(ClassLength, "less than raw_len", plain, n+1, payload)
}

// payloads are bodies that decompress well and parse badly. Each begins at its first fault like a good one.
func (f *forge) payloads() {
	const w1, w2 = "\x01\x00\x00\x00\x00\x00\x00\x00", "\x02\x00\x00\x00\x00\x00\x00\x00"
	link, at := "\x41\x14"+strings.Repeat("r", 20), "\x42\x08"+strings.Repeat("t", 8)
	for _, p := range []struct{ class, name, payload string }{
		{ClassLength, "bytes after the last entry", "\x00\x00\x00\x00"},
		{ClassLength, "a value past the end", "\x00\x01" + w1 + "\x01" + "\x00\x00\x00\x01a\x09x"},
		{ClassLength, "fewer bytes than entries", "\x00\x01" + w1 + "\x7f" + "\x00\x00\x00\x01a\x00"},
		{ClassLength, "a varint past the end", "\x00\x00\x80"},
		{ClassLength, "no entry count", "\x00\x00"},
		{ClassLimit, "65 extensions", "\x41\x00\x00"},
		{ClassLimit, "4097 entries", "\x00\x01" + w1 + "\x81\x20" + "\x00\x00\x00\x01a\x00"},
		{ClassLimit, "a name of 1025 bytes", "\x00\x01" + w1 + "\x01" + "\x00\x00\x00\x81\x08" + strings.Repeat("n", 1025) + "\x00"},
		{ClassCritical, "extension 69", "\x01\x45\x00\x00\x00"},
		{ClassCritical, "extension 2^32-1", "\x01\xff\xff\xff\xff\x0f\x00\x00\x00"},
		{ClassCanonical, "a varint that is too long", "\x80\x00\x00\x00"},
		{ClassCanonical, "a count beyond 32 bits", "\x00\x00\x80\x80\x80\x80\x10"},
		{ClassCanonical, "a clock beyond 64 bits", "\x00\x01" + w1 + "\x01" + "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x01a\x00"},
		{ClassCanonical, "a clock varint of 11 bytes", "\x00\x01" + w1 + "\x01" + "\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01\x00\x01a\x00"},
		{ClassCanonical, "extensions that do not ascend", "\x02\x02\x00\x01\x00\x00\x00"},
		{ClassCanonical, "an extension twice", "\x02\x01\x00\x01\x00\x00\x00"},
		{ClassCanonical, "an owner that is shorter than it says", "\x01\x40\x0a\x02a" + w1 + "\x00\x00"},
		{ClassCanonical, "an owner of nobody", "\x01\x40\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"},
		{ClassCanonical, "a successor without a time", "\x01" + link + "\x00\x00"},
		{ClassCanonical, "a time without a successor", "\x01" + at + "\x00\x00"},
		{ClassCanonical, "a successor of zeros", "\x02\x41\x14" + strings.Repeat("\x00", 20) + "\x42\x08" + strings.Repeat("\x00", 8) + "\x00\x00"},
		{ClassCanonical, "a predecessor of 19 bytes", "\x02\x43\x13" + strings.Repeat("r", 19) + "\x44\x08" + strings.Repeat("t", 8) + "\x00\x00"},
		{ClassCanonical, "writers that do not ascend", "\x00\x02" + w2 + w1 + "\x02" + "\x00\x00\x00\x01a\x00" + "\x00\x00\x01\x01b\x00"},
		{ClassCanonical, "a writer twice", "\x00\x02" + w1 + w1 + "\x02" + "\x00\x00\x00\x01a\x00" + "\x00\x00\x01\x01b\x00"},
		{ClassCanonical, "a writer that no entry names", "\x00\x02" + w1 + w2 + "\x01" + "\x00\x00\x00\x01a\x00"},
		{ClassCanonical, "a writer that is not there", "\x00\x01" + w1 + "\x01" + "\x00\x00\x01\x01a\x00"},
		{ClassCanonical, "entries that do not ascend", "\x00\x01" + w1 + "\x02" + "\x00\x00\x00\x01b\x00" + "\x00\x00\x00\x01a\x00"},
		{ClassCanonical, "an entry twice", "\x00\x01" + w1 + "\x02" + "\x00\x00\x00\x01a\x00" + "\x01\x00\x00\x01a\x00"},
		{ClassCanonical, "a reserved entry before an attribute", "\x00\x01" + w1 + "\x02" + "\x03\x00\x00\x01a\x00" + "\x00\x00\x00\x01b\x00"},
		{ClassCanonical, "a deleted entry with a value", "\x00\x01" + w1 + "\x01" + "\x02\x00\x00\x01a\x011"},
		{ClassCanonical, "no name", "\x00\x01" + w1 + "\x01" + "\x00\x00\x00\x00\x011"},
		{ClassCanonical, "a name that is not UTF-8", "\x00\x01" + w1 + "\x01" + "\x00\x00\x00\x02\xc0\x80\x00"},
		{ClassCanonical, "a name with a surrogate", "\x00\x01" + w1 + "\x01" + "\x00\x00\x00\x03\xed\xa0\x80\x00"},
		{ClassCanonical, "an idle entry that is not the header's", "\x00\x01" + w1 + "\x01" + "\x03\x00\x00\x04idle\x0260"},
		{ClassCanonical, "an idle entry with a leading zero", "\x00\x01" + w1 + "\x01" + "\x03\x00\x00\x04idle\x0501800"},
	} {
		h := headerOf(born1(), new([]byte))
		h.rawLen = uint32(len(p.payload))
		// The header repeats what the payload would say if it were good, so that the fault is the only one.
		var r Record
		r.Created = born
		r.Idle = 1800
		_ = parsePayload([]byte(p.payload), &r, new(scratch))
		h.clock, h.digest, h.owner = r.MaxClock(), r.Digest(), r.Owner.hash()
		f.sealed(p.class, p.name, h, []byte(p.payload), 1)
	}
}
