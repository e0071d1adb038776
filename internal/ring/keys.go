package ring

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// Keys signs and verifies the ids of one space: the first key signs, all of them verify.
type Keys struct {
	space string
	macs  [][]byte
}

// NewKeys derives the MAC keys from 32-byte secrets, the sealing one first. Without any secret the MAC is a checksum under 32
// zero bytes: it catches damage, not forgery.
func NewKeys(space string, secrets ...[]byte) (*Keys, error) {
	if !ValidSpace(space) {
		return nil, fmt.Errorf("ring: invalid space %q", space)
	}
	k := &Keys{space: space}
	if len(secrets) == 0 {
		k.macs = [][]byte{make([]byte, 32)}
		return k, nil
	}
	for _, secret := range secrets {
		if len(secret) != 32 {
			return nil, fmt.Errorf("ring: a key has %d bytes, want 32", len(secret))
		}
		mac, err := hkdf.Key(sha256.New, secret, nil, "pillion/id/1", 32)
		if err != nil {
			return nil, err
		}
		k.macs = append(k.macs, mac)
	}
	return k, nil
}

// Sign returns id with its MAC: at birth and after each change of node, route or epoch.
func (k *Keys) Sign(id ID) ID {
	id.mac = k.mac(k.macs[0], id)
	return id
}

// Verify tells whether one of the keys made id (C2, C3): constant time for each key.
func (k *Keys) Verify(id ID) bool {
	for _, key := range k.macs {
		if mac := k.mac(key, id); subtle.ConstantTimeCompare(mac[:], id.mac[:]) == 1 {
			return true
		}
	}
	return false
}

// mac covers length-prefixed fields, so that no digit can move from one into the next.
func (k *Keys) mac(key []byte, id ID) (out [8]byte) {
	var issued [4]byte
	var epoch [2]byte
	binary.BigEndian.PutUint32(issued[:], id.Issued)
	binary.BigEndian.PutUint16(epoch[:], id.Epoch)
	h := hmac.New(sha256.New, key)
	for _, field := range [][]byte{{1}, []byte(k.space), id.Random[:], issued[:], epoch[:], []byte(id.Node), []byte(id.Route)} {
		h.Write([]byte{byte(len(field))})
		h.Write(field)
	}
	copy(out[:], h.Sum(nil))
	return out
}

// Ref is the public name of a session, safe to log: it reveals nothing that could be sent as a cookie.
func Ref(space string, random [16]byte) string {
	h := sha256.New()
	h.Write([]byte("pillion/key/1\x00"))
	h.Write([]byte{byte(len(space))})
	h.Write([]byte(space))
	h.Write(random[:])
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:32]
}

// StorageKey is the key of both copies in memcached. No node, route, key or client byte is in it, so that neither a relocation
// nor a key rotation moves a session (M1).
func StorageKey(space string, random [16]byte) string {
	return "p1:" + space + ":" + Ref(space, random)
}
