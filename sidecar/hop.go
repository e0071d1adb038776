package sidecar

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"
)

// hopWindow is how far the clocks of two sidecars may be apart.
const hopWindow = 30 * time.Second

// hops prove to a sidecar that a call comes from another one of its fleet, is meant for it, is new, and says what it says. Whoever lacks
// the hop key can neither forge a call nor repeat one.
type hops struct {
	self string
	keys atomic.Pointer[[][]byte] // the first signs
	run  [4]byte                  // tells this process from an earlier one of its name
	made atomic.Uint64            // calls so far
	seen replays
}

// hop is the proof that goes with a call, spelled as a dictionary of RFC 9651.
type hop struct {
	from, to string
	at       int64 // Unix seconds
	nonce    [12]byte
}

func newHops(self string, random io.Reader) *hops {
	p := &hops{self: self}
	mustRead(random, p.run[:])
	p.keys.Store(&[][]byte{})
	return p
}

// nonce is one that no other call of the fleet has: which process makes it, and how many it made before.
func (p *hops) nonce() (n [12]byte) {
	copy(n[:], p.run[:])
	binary.BigEndian.PutUint64(n[len(p.run):], p.made.Add(1))
	return n
}

// setKeys derives the hop keys from the fleet's secrets, the sealing one first.
func (p *hops) setKeys(secrets [][]byte) {
	var keys [][]byte
	for _, secret := range secrets {
		key, err := hkdf.Key(sha256.New, secret, nil, "pillion/hop/1", 32)
		if err != nil {
			panic("sidecar: derive a hop key: " + err.Error()) // only for a length that HKDF cannot give
		}
		keys = append(keys, key)
	}
	p.keys.Store(&keys)
}

// configured tells whether calls can be proven at all.
func (p *hops) configured() bool { return len(*p.keys.Load()) > 0 }

// sign spells the proof of a call to another sidecar.
func (p *hops) sign(to string, nonce [12]byte, parts ...string) string {
	h := hop{from: p.self, to: to, at: time.Now().Unix(), nonce: nonce}
	mac := h.mac((*p.keys.Load())[0], parts)
	return `from="` + h.from + `", to="` + h.to + `", t=@` + strconv.FormatInt(h.at, 10) +
		", n=:" + base64.StdEncoding.EncodeToString(nonce[:]) + ":, mac=:" + base64.StdEncoding.EncodeToString(mac) + ":"
}

var hopPattern = regexp.MustCompile(`^from="([a-z0-9-]{1,32})", to="([a-z0-9-]{1,32})", t=@([0-9]{1,12}), n=:([A-Za-z0-9+/]{16}):, mac=:([A-Za-z0-9+/]{43}=):$`)

// verify reads a proof; ok is false unless a key of the fleet made it for this sidecar, lately, and it was not seen before.
func (p *hops) verify(text string, parts ...string) (h hop, ok bool) {
	m := hopPattern.FindStringSubmatch(text)
	if m == nil {
		return hop{}, false
	}
	h = hop{from: m[1], to: m[2]}
	at, err := strconv.ParseInt(m[3], 10, 64)
	nonce, badNonce := base64.StdEncoding.DecodeString(m[4])
	mac, badMAC := base64.StdEncoding.DecodeString(m[5])
	if err != nil || badNonce != nil || badMAC != nil || h.to != p.self {
		return hop{}, false
	}
	h.at = at
	copy(h.nonce[:], nonce)
	if age := time.Since(time.Unix(at, 0)); age > hopWindow || age < -hopWindow {
		return hop{}, false
	}
	for _, key := range *p.keys.Load() {
		if hmac.Equal(mac, h.mac(key, parts)) {
			return h, p.seen.fresh(h, time.Now())
		}
	}
	return hop{}, false
}

func (h hop) mac(key []byte, parts []string) []byte {
	fields := append([]string{"pillion/hop/1", h.from, h.to, strconv.FormatInt(h.at, 10), string(h.nonce[:])}, parts...)
	return macOver(key, fields)
}

// answerMAC binds an answer to the call that it answers.
func (p *hops) answerMAC(nonce [12]byte, answer []byte) []byte {
	return macOver((*p.keys.Load())[0], []string{"pillion/hop-answer/1", string(nonce[:]), string(answer)})
}

func (p *hops) answers(nonce [12]byte, answer, mac []byte) bool {
	for _, key := range *p.keys.Load() {
		if hmac.Equal(mac, macOver(key, []string{"pillion/hop-answer/1", string(nonce[:]), string(answer)})) {
			return true
		}
	}
	return false
}

// macOver is HMAC-SHA-256 over length-prefixed fields.
func macOver(key []byte, fields []string) []byte {
	mac := hmac.New(sha256.New, key)
	for _, field := range fields {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(field)))
		mac.Write(size[:])
		mac.Write([]byte(field))
	}
	return mac.Sum(nil)
}
