package sessioncodec

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

const (
	label     = "pillion/session/1\x00"
	keepBytes = 128 << 10 // greater scratch buffers are left to the garbage collector
)

// Key is one secret of a space. Its ID goes into each blob that it seals.
type Key struct {
	ID     uint32 // not 0
	Secret []byte // 32 bytes
}

// Options of a Codec.
type Options struct {
	Space       string      // bound into every blob, 1 to 255 bytes
	Seal        *Key        // seals, and opens; nil: blobs have a checksum only
	Open        []Key       // further keys that open
	Compression Compression // of what is written
	MaxRaw      int         // greatest payload; 0 is the constant MaxRaw
	Random      io.Reader   // of nonces; nil is crypto/rand
}

// Codec turns records into blobs and back. It may be used by any number of goroutines.
type Codec struct {
	compressor
	space   string
	maxRaw  int
	random  io.Reader
	sealID  uint32
	keys    map[uint32]*xaes // none: no protection but the CRC
	scratch sync.Pool
}

// New checks the options and prepares the keys.
func New(o Options) (*Codec, error) {
	c := &Codec{
		compressor: newCompressor(o.Compression),
		space:      o.Space, maxRaw: o.MaxRaw, random: o.Random,
		keys:    make(map[uint32]*xaes),
		scratch: sync.Pool{New: func() any { return new(scratch) }},
	}
	if c.random == nil {
		c.random = rand.Reader
	}
	if c.maxRaw == 0 {
		c.maxRaw = MaxRaw
	}
	switch {
	case o.Space == "" || len(o.Space) > 255:
		return nil, errors.New("sessioncodec: a space has 1 to 255 bytes")
	case o.Compression > CompressZstd:
		return nil, errors.New("sessioncodec: an unknown compression policy")
	case c.maxRaw < 0 || c.maxRaw > MaxRaw:
		return nil, fmt.Errorf("sessioncodec: MaxRaw is %d, want up to %d", o.MaxRaw, MaxRaw)
	case o.Seal == nil && len(o.Open) > 0:
		return nil, errors.New("sessioncodec: keys that open need one that seals")
	case o.Seal == nil:
		return c, nil
	}
	c.sealID = o.Seal.ID
	for _, key := range append([]Key{*o.Seal}, o.Open...) {
		if err := c.addKey(key); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Codec) addKey(key Key) error {
	if key.ID == 0 || c.keys[key.ID] != nil {
		return fmt.Errorf("sessioncodec: key id %d is zero or used twice", key.ID)
	}
	if len(key.Secret) != 32 {
		return fmt.Errorf("sessioncodec: key %d has %d bytes, want 32", key.ID, len(key.Secret))
	}
	secret, err := hkdf.Key(sha256.New, key.Secret, nil, "pillion/blob/1", 32)
	if err != nil {
		return err
	}
	c.keys[key.ID], err = newXAES(secret)
	return err
}

// Seal spells a record for the storage key under which it will lie. Of a destroyed record only the tombstone is written, whatever
// it still holds.
func (c *Codec) Seal(storageKey string, r *Record) ([]byte, error) {
	s := c.scratch.Get().(*scratch)
	defer c.release(s)
	if r.State == Destroyed {
		t := r.tombstone()
		r = &t
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	h := headerOf(r, &s.digest)
	h.keyID = c.sealID
	if c.sealID != 0 {
		h.protection = protectXAES
	}
	var body []byte
	if r.State != Destroyed {
		s.payload = appendPayload(s.payload[:0], r, s)
		if len(s.payload) > c.maxRaw {
			return nil, fail(ClassLimit, "a payload longer than this codec handles")
		}
		h.rawLen = uint32(len(s.payload))
		var err error
		if body, s.body, h.compression, err = c.compress(s.body, s.payload); err != nil {
			return nil, err
		}
	}
	return c.protect(&h, body, storageKey, s)
}

// protect returns header and body with the proof that they belong together, to the space and to the storage key.
func (c *Codec) protect(h *header, body []byte, storageKey string, s *scratch) ([]byte, error) {
	if h.protection == protectCRC {
		out := h.append(make([]byte, 0, headerLen+len(body)+crcLen))
		sum := checksum(c.bound(out, storageKey, s), body)
		return binary.LittleEndian.AppendUint32(append(out, body...), sum), nil
	}
	out := h.append(make([]byte, 0, headerLen+nonceLen+len(body)+tagLen))
	nonce := out[headerLen : headerLen+nonceLen]
	if _, err := io.ReadFull(c.random, nonce); err != nil {
		return nil, fmt.Errorf("sessioncodec: drawing a nonce: %w", err)
	}
	aead, err := c.keys[h.keyID].aead(nonce, &s.derived)
	if err != nil {
		return nil, err
	}
	return aead.Seal(out[:headerLen+nonceLen], nonce[12:], body, c.bound(out, storageKey, s)), nil
}

// Open reads a blob that was found under storageKey. Values of the result share one buffer of its own, not the blob. A failure is
// an *Error.
func (c *Codec) Open(storageKey string, blob []byte) (*Record, error) {
	s := c.scratch.Get().(*scratch)
	defer c.release(s)
	h, err := parseHeader(blob)
	if err != nil {
		return nil, err
	}
	body, err := c.unprotect(&h, blob, storageKey, s)
	if err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, err
	}
	if int64(h.rawLen) > int64(c.maxRaw) {
		return nil, fail(ClassLimit, "a payload longer than this codec handles")
	}
	payload, err := c.decompress(body, h.compression, int(h.rawLen))
	if err != nil {
		return nil, err
	}
	r := h.record()
	if r.State != Destroyed {
		if err := parsePayload(payload, &r, s); err != nil {
			return nil, err
		}
	}
	if !h.agrees(&r, &s.digest) {
		return nil, fail(ClassCanonical, "the header contradicts the payload")
	}
	return &r, nil
}

// unprotect returns the body, if it is what was written. It lies in memory of its own when it is the payload already, and else in
// the blob or in scratch.
func (c *Codec) unprotect(h *header, blob []byte, storageKey string, s *scratch) ([]byte, error) {
	rest := blob[headerLen:]
	if h.protection == protectCRC {
		if c.sealID != 0 {
			return nil, fail(ClassAlgorithm, "a blob without a seal, while keys are configured: it may be anybody's")
		}
		body := rest[:len(rest)-crcLen]
		if checksum(c.bound(blob[:headerLen], storageKey, s), body) != binary.LittleEndian.Uint32(rest[len(body):]) {
			return nil, fail(ClassChecksum, "damaged, or stored for another space or key")
		}
		if h.compression == plain {
			body = bytes.Clone(body)
		}
		return body, nil
	}
	if len(rest) < nonceLen+tagLen {
		return nil, fail(ClassTruncated, "shorter than a seal")
	}
	key := c.keys[h.keyID]
	if key == nil {
		return nil, fail(ClassKey, fmt.Sprintf("no key %d is configured: keep a key that opens until nothing sealed by it can live", h.keyID))
	}
	nonce, sealed := rest[:nonceLen], rest[nonceLen:]
	aead, err := key.aead(nonce, &s.derived)
	if err != nil {
		return nil, err
	}
	var body []byte
	if h.compression == plain {
		body = make([]byte, 0, len(sealed)-tagLen)
	} else {
		body = s.body[:0]
	}
	if body, err = aead.Open(body, nonce[12:], sealed, c.bound(blob[:headerLen], storageKey, s)); err != nil {
		return nil, fail(ClassAuth, "changed since it was sealed, or sealed for another space or key")
	}
	if h.compression != plain {
		s.body = body
	}
	return body, nil
}

// bound is what a blob is bound to beside its body: the additional data of the seal, and the beginning of what the CRC covers.
func (c *Codec) bound(header []byte, storageKey string, s *scratch) []byte {
	s.aad = append(append(s.aad[:0], label...), header...)
	s.aad = append(append(s.aad, byte(len(c.space))), c.space...)
	s.aad = append(s.aad, storageKey...)
	return s.aad
}

func checksum(bound, body []byte) uint32 {
	return crc32.Update(crc32.ChecksumIEEE(bound), crc32.IEEETable, body)
}

func (c *Codec) release(s *scratch) {
	if max(cap(s.payload), cap(s.body), cap(s.digest), cap(s.names)) <= keepBytes {
		c.scratch.Put(s)
	}
}
