package sidecar

import (
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"sync/atomic"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// spelling is a session as requests use it: read, and spelled for the app. A request that finds it ready allocates nothing of that, and the id
// that came with it is known to be genuine when it comes again.
type spelling struct {
	of     any // what was spelled: a state's packed record, or the record that a store gave; another one is another spelling
	record *sessioncodec.Record
	shown  string // the id as a client showed it, and read
	id     ring.ID
	proven atomic.Pointer[ring.Keys] // have verified the MAC of id
	home   *session                  // where sticky mode's memory has it, or had it
	object string                    // Pillion-Session
	etag   string
	before string // Pillion-Meta up to the time of expiry, and from there
	after  string
	last   atomic.Pointer[string] // as it was last: the time is in seconds, and a page asks more often
	// The subject that the session is bound to, if it is, and its epoch then.
	subject string
	bound   uint64
}

// seat is the part of an id that never changes in a session's life, as clients show it. Spellings are found by it, without reading the id.
type seat [32]byte

func seatOf(shown string) (s seat) {
	copy(s[:], shown)
	return s
}

// newSpelling spells a record, nil for a visitor without a session.
func (h *Handler) newSpelling(of any, v *visit, r *sessioncodec.Record) *spelling {
	sp := &spelling{of: of, record: r}
	var object []byte
	if r != nil {
		object = make([]byte, 0, weight(r)+len("{}"))
	}
	sp.object = string(sessioncodec.AppendObject(object, r))
	b := make([]byte, 0, 160)
	if r == nil {
		b = append(b, "new"...)
	} else {
		sp.etag = etag(r)
		b = append(append(b, `v="`...), sp.etag...)
		b = append(append(b, `", new=?0, ref="`...), v.ref()...)
		b = strconv.AppendInt(append(b, `", created=@`...), r.Created/1000, 10)
		sp.before = string(append(b, ", exp=@"...))
		b = strconv.AppendUint(append(b[:0], ", idle="...), uint64(r.Idle), 10)
		sp.subject, sp.bound, _ = bound(r)
		if v.shown.Random == v.id.Random {
			sp.shown, sp.id, sp.home = v.shown.String(), v.shown, v.home
			sp.proven.Store(v.proven)
		}
	}
	b = strconv.AppendInt(append(b, ", size="...), int64(len(sp.object)), 10)
	b = append(b, ", inline"...)
	if !h.inline(sp) {
		b = append(b, "=?0"...)
	}
	sp.after = string(b)
	return sp
}

// recordOf is the record of st, which is often what the request was given.
func (v *visit) recordOf(st *state) *sessioncodec.Record {
	if v.spelling != nil && v.spelling.of == any(&st.packed[0]) {
		return v.spelling.record
	}
	return st.record()
}

// etag names the content of a record: equal for equal attributes, opaque to the app.
func etag(r *sessioncodec.Record) string {
	digest := r.Digest()
	return hex.EncodeToString(digest[:])
}

func (h *Handler) inline(sp *spelling) bool { return len(sp.object) <= h.opts.InlineMax }

// meta spells Pillion-Meta, a dictionary of RFC 9651.
func (sp *spelling) meta(v *visit) string {
	if sp.record == nil {
		return sp.after
	}
	expires := min(v.accessed+int64(sp.record.Idle)*1000, sp.record.Created+int64(sp.record.Lifetime)*1000)
	var buf [256]byte
	b := strconv.AppendInt(append(buf[:0], sp.before...), expires/1000, 10)
	b = append(b, sp.after...)
	if last := sp.last.Load(); last != nil && *last == string(b) {
		return *last
	}
	meta := string(b)
	sp.last.Store(&meta)
	return meta
}

// known tells whether the id that a client shows is one that came before, and was found genuine by the keys of now. It compares in constant time.
func (h *Handler) known(v *visit, shown string) bool {
	v.proven = h.keys.Load()
	v.spelling, _ = h.spellings.Get(seatOf(shown))
	sp := v.spelling
	return sp != nil && sp.proven.Load() == v.proven && sameText(sp.shown, shown)
}

func sameText(a, b string) bool {
	var left, right [128]byte // an id has 98 bytes at most
	if len(a) != len(b) || len(a) > len(left) {
		return false
	}
	copy(left[:], a)
	copy(right[:], b)
	return subtle.ConstantTimeCompare(left[:], right[:]) == 1
}

// genuine tells whether the MAC of an id that is not known verifies.
func (h *Handler) genuine(v *visit, id *ring.ID) bool {
	if !v.proven.Verify(*id) {
		return false
	}
	if sp := v.spelling; sp != nil && sp.id.Same(*id) { // the keys have changed since
		sp.proven.Store(v.proven)
	}
	*id = id.Clone()
	return true
}

// spell makes what was found of v's session its spelling, the one from before if that was of the same.
func (h *Handler) spell(v *visit, of any, record func() *sessioncodec.Record) {
	if v.spelling == nil || v.spelling.of != of {
		v.spelling = h.newSpelling(of, v, record())
		if v.spelling.shown != "" {
			h.spellings.Put(seatOf(v.spelling.shown), v.spelling, v.spelling.size())
			h.opts.Metrics.HeaderCache.Set(float64(h.spellings.Bytes()))
		}
	}
	v.loaded = v.spelling.record
}

const (
	// spellingOverhead is what a spelling takes beside its text: itself, the record's fixed part, its place in the cache.
	spellingOverhead = 640
	entrySize        = 64
)

// size is what sp takes in memory, with its record: that may be the last that refers to it.
func (sp *spelling) size() int64 {
	return int64(spellingOverhead + len(sp.shown) + len(sp.object) + len(sp.before) + len(sp.after) + len(sp.subject) + weight(sp.record) + entrySize*len(sp.record.Entries))
}
