package sidecar

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const (
	hopWindow = 30 * time.Second // how far the clocks of two sidecars may be apart
	hopSeen   = 100_000          // calls remembered against replay; more within the window are refused
)

// hops prove to a sidecar that a call comes from another one of its fleet, is meant for it, is new, and says what it says. Whoever lacks
// the hop key can neither forge a call nor repeat one.
type hops struct {
	self string

	mu    sync.Mutex
	keys  [][]byte // the first signs
	seen  map[[12]byte]bool
	order []seenHop
}

type seenHop struct {
	nonce [12]byte
	at    time.Time
}

// hop is the proof that goes with a call, spelled as a dictionary of RFC 9651.
type hop struct {
	from, to string
	at       int64 // Unix seconds
	nonce    [12]byte
}

func newHops(self string) *hops { return &hops{self: self, seen: map[[12]byte]bool{}} }

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
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// configured tells whether calls can be proven at all.
func (p *hops) configured() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.keys) > 0
}

// sign spells the proof of a call to another sidecar.
func (p *hops) sign(to string, nonce [12]byte, parts ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := hop{from: p.self, to: to, at: time.Now().Unix(), nonce: nonce}
	mac := h.mac(p.keys[0], parts)
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
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.keys {
		if hmac.Equal(mac, h.mac(key, parts)) {
			return h, p.fresh(h.nonce, time.Now())
		}
	}
	return hop{}, false
}

// fresh remembers a nonce and tells whether it is new; p.mu is held.
func (p *hops) fresh(nonce [12]byte, now time.Time) bool {
	for len(p.order) > 0 && now.Sub(p.order[0].at) > 2*hopWindow {
		delete(p.seen, p.order[0].nonce)
		p.order = p.order[1:]
	}
	if p.seen[nonce] || len(p.order) >= hopSeen {
		return false
	}
	p.seen[nonce] = true
	p.order = append(p.order, seenHop{nonce, now})
	return true
}

func (h hop) mac(key []byte, parts []string) []byte {
	fields := append([]string{"pillion/hop/1", h.from, h.to, strconv.FormatInt(h.at, 10), string(h.nonce[:])}, parts...)
	return macOver(key, fields)
}

// answerMAC binds an answer to the call that it answers.
func (p *hops) answerMAC(nonce [12]byte, answer []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return macOver(p.keys[0], []string{"pillion/hop-answer/1", string(nonce[:]), string(answer)})
}

func (p *hops) answers(nonce [12]byte, answer, mac []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, key := range p.keys {
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
