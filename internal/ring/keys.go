package ring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"sync"
)

// Keys signs and verifies the ids of one space: the first key signs, all of them verify.
type Keys struct {
	space string
	macs  []*mac
}

// NewKeys derives the MAC keys from 32-byte secrets, the sealing one first. Without any secret the MAC is a checksum under 32
// zero bytes: it catches damage, not forgery.
func NewKeys(space string, secrets ...[]byte) (*Keys, error) {
	if !ValidSpace(space) {
		return nil, fmt.Errorf("ring: invalid space %q", space)
	}
	k := &Keys{space: space}
	if len(secrets) == 0 {
		k.macs = []*mac{newMAC(make([]byte, 32))}
		return k, nil
	}
	for _, secret := range secrets {
		if len(secret) != 32 {
			return nil, fmt.Errorf("ring: a key has %d bytes, want 32", len(secret))
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "pillion/id/1", 32)
		if err != nil {
			return nil, err
		}
		k.macs = append(k.macs, newMAC(key))
	}
	return k, nil
}

// Sign returns id with its MAC: at birth and after each change of node, route or epoch.
func (k *Keys) Sign(id ID) ID {
	id.mac = k.macs[0].of(k.space, id)
	return id
}

// Verify tells whether one of the keys made id (C2, C3): constant time for each key.
func (k *Keys) Verify(id ID) bool {
	for _, m := range k.macs {
		if mac := m.of(k.space, id); subtle.ConstantTimeCompare(mac[:], id.mac[:]) == 1 {
			return true
		}
	}
	return false
}

// mac is HMAC-SHA-256 under one key. Each request needs it once, and making it ready costs as much as its use: it is kept.
type mac struct{ idle sync.Pool }

type ready struct {
	hash.Hash
	message, sum []byte
}

func newMAC(key []byte) *mac {
	return &mac{sync.Pool{New: func() any { return &ready{Hash: hmac.New(sha256.New, key)} }}}
}

// of covers length-prefixed fields, so that no digit can move from one into the next.
func (m *mac) of(space string, id ID) [8]byte {
	h := m.idle.Get().(*ready)
	defer m.idle.Put(h)
	b := append(h.message[:0], 1, 1)
	b = append(append(b, byte(len(space))), space...)
	b = append(append(b, byte(len(id.Random))), id.Random[:]...)
	b = binary.BigEndian.AppendUint32(append(b, 4), id.Issued)
	b = binary.BigEndian.AppendUint16(append(b, 2), id.Epoch)
	b = append(append(b, byte(len(id.Node))), id.Node...)
	h.message = append(append(b, byte(len(id.Route))), id.Route...)
	h.Reset()
	h.Write(h.message)
	h.sum = h.Sum(h.sum[:0])
	return [8]byte(h.sum)
}

// Ref is the public name of a session, safe to log: it reveals nothing that could be sent as a cookie.
func Ref(space string, random [16]byte) string {
	var ref [32]byte
	return string(AppendRef(ref[:0], space, random))
}

// AppendRef is Ref for who looks at many. 24 bytes of the hash are 32 characters.
func AppendRef(b []byte, space string, random [16]byte) []byte {
	var buf [64]byte
	text := append(append(buf[:0], "pillion/key/1\x00"...), byte(len(space)))
	sum := sha256.Sum256(append(append(text, space...), random[:]...))
	return base64.RawURLEncoding.AppendEncode(b, sum[:24])
}

// SubjectKey is the key of a subject's list of sessions. Like a session's it holds no byte that somebody chose.
func SubjectKey(space, subject string) string {
	h := sha256.New()
	h.Write([]byte("pillion/subject/1\x00"))
	h.Write([]byte{byte(len(space))})
	h.Write([]byte(space))
	h.Write([]byte(subject))
	return "p1:" + space + ":u:" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:32]
}

// RefKey is the storage key of the session with that ref.
func RefKey(space, ref string) string { return "p1:" + space + ":" + ref }

// StorageKey is the key of both copies in memcached. No node, route, key or client byte is in it, so that neither a relocation
// nor a key rotation moves a session (M1).
func StorageKey(space string, random [16]byte) string {
	var key [80]byte
	b := append(append(append(key[:0], "p1:"...), space...), ':')
	return string(AppendRef(b, space, random))
}
