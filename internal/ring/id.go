// Package ring is the arithmetic of the ring: session ids and the nodes that keep a session. It is pure; it opens no connection.
//
// An id is `<token>-<node>.<route>`, the grammar of memcached-session-manager. The token is base32 of 30 bytes: 16 random, 4
// issued, 2 epoch, 8 MAC. Its first 32 characters (random and issued) never change in a session's life; node, route and epoch
// change when the session moves, and the MAC with them.
package ring

import (
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"time"
)

const (
	tokenBytes = 30
	tokenChars = 48
	maxNode    = 16
	maxRoute   = 32
)

const alphabet = "abcdefghijklmnopqrstuvwxyz234567"

var (
	encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)
	digits   = func() (values [256]byte) {
		for i := range values {
			values[i] = 0xFF
		}
		for i, c := range alphabet {
			values[c] = byte(i)
		}
		return values
	}()
)

// decode reads a token as encoding would, which allocates.
func decode(raw *[tokenBytes]byte, token string) bool {
	bad := byte(0)
	for i := range tokenBytes / 5 {
		var five uint64
		for j := range 8 {
			d := digits[token[8*i+j]]
			bad |= d
			five = five<<5 | uint64(d&31)
		}
		raw[5*i] = byte(five >> 32)
		binary.BigEndian.PutUint32(raw[5*i+1:], uint32(five))
	}
	return bad < 32
}

// ErrMalformed: the text is not an id in its one canonical spelling.
var ErrMalformed = errors.New("ring: malformed session id")

// ID is a session id. Only one that a Keys signed or verified may be used to reach a store.
type ID struct {
	Random [16]byte
	Issued uint32 // Unix seconds of the session's birth
	Epoch  uint16 // low 16 bits of the owner's epoch; in shared mode the Mark of a change that one node alone took, else 0
	Node   string // "" while no node was up
	Route  string // "" only in ids of foreign make
	mac    [8]byte
}

// NewID draws a session's identity. It is not signed yet.
func NewID(random io.Reader, now time.Time) (ID, error) {
	id := ID{Issued: uint32(now.Unix())}
	_, err := io.ReadFull(random, id.Random[:])
	return id, err
}

// ParseID reads an id; ParseID(x).String() == x or it fails. It does not check the MAC.
func ParseID(text string) (ID, error) {
	if len(text) < tokenChars || len(text) > tokenChars+1+maxNode+1+maxRoute {
		return ID{}, ErrMalformed
	}
	var raw [tokenBytes]byte
	if !decode(&raw, text[:tokenChars]) {
		return ID{}, ErrMalformed
	}
	id := ID{Issued: binary.BigEndian.Uint32(raw[16:]), Epoch: binary.BigEndian.Uint16(raw[20:])}
	copy(id.Random[:], raw[:16])
	copy(id.mac[:], raw[22:])
	rest := text[tokenChars:]
	if strings.HasPrefix(rest, "-") {
		end := strings.IndexByte(rest, '.')
		if end < 0 {
			end = len(rest)
		}
		if id.Node = rest[1:end]; !ValidNode(id.Node) {
			return ID{}, ErrMalformed
		}
		rest = rest[end:]
	}
	if rest != "" {
		if id.Route = rest[1:]; rest[0] != '.' || !ValidRoute(id.Route) {
			return ID{}, ErrMalformed
		}
	}
	return id, nil
}

// String spells the id.
func (id ID) String() string {
	var raw [tokenBytes]byte
	copy(raw[:], id.Random[:])
	binary.BigEndian.PutUint32(raw[16:], id.Issued)
	binary.BigEndian.PutUint16(raw[20:], id.Epoch)
	copy(raw[22:], id.mac[:])
	b := make([]byte, tokenChars, tokenChars+1+maxNode+1+maxRoute)
	encoding.Encode(b, raw[:])
	if id.Node != "" {
		b = append(append(b, '-'), id.Node...)
	}
	if id.Route != "" {
		b = append(append(b, '.'), id.Route...)
	}
	return string(b)
}

// Same tells whether two ids are equal. The time it takes says nothing about the MAC.
func (id ID) Same(other ID) bool {
	equal := subtle.ConstantTimeCompare(id.mac[:], other.mac[:]) == 1
	id.mac, other.mac = [8]byte{}, [8]byte{}
	return equal && id == other
}

// Clone is an id with memory of its own: a parsed one lies in the text that it was parsed from.
func (id ID) Clone() ID {
	id.Node, id.Route = strings.Clone(id.Node), strings.Clone(id.Route)
	return id
}

// Born is when the session began.
func (id ID) Born() time.Time { return time.Unix(int64(id.Issued), 0) }

// Mark is how an id of shared mode names a change by its stamp's clock: 16 bits of it, and never 0. Two clocks in a session have one
// mark once in 65 535 times, which only matters while a node is silent that alone has a change.
func Mark(clock uint64) uint16 { return uint16(1 + clock%65535) }

// EpochBefore compares the 16-bit epochs of two ids in serial number arithmetic (RFC 1982).
func EpochBefore(a, b uint16) bool { return int16(a-b) < 0 }

// ValidNode tells whether name may name a node: [a-z0-9_]{1,16}.
func ValidNode(name string) bool {
	return len(name) >= 1 && len(name) <= maxNode && only(name, '_')
}

// ValidRoute tells whether name may name a sidecar: [a-z0-9-]{1,32}.
func ValidRoute(name string) bool {
	return len(name) >= 1 && len(name) <= maxRoute && only(name, '-')
}

// ValidSpace tells whether name may name an app or a space: [a-z0-9_]{1,32}.
func ValidSpace(name string) bool {
	return len(name) >= 1 && len(name) <= 32 && only(name, '_')
}

func only(s string, extra byte) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != extra {
			return false
		}
	}
	return true
}
