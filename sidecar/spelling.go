package sidecar

import (
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
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
	ref    string
	words  atomic.Pointer[words] // nil until the app is told: the next request may change the session first
	// The subject that the session is bound to, if it is, and its epoch then.
	subject string
	bound   uint64
}

// words are what the app is told of a session. The time of expiry moves on, but in seconds, and a page asks more often.
type words struct {
	object  string // Pillion-Session
	meta    string // Pillion-Meta
	etag    string
	expires int64 // Unix seconds
}

// seat is the part of an id that never changes in a session's life, as clients show it. Spellings are found by it, without reading the id.
type seat [32]byte

func seatOf(shown string) (s seat) {
	copy(s[:], shown)
	return s
}

// newSpelling is one of v's session, whose record is r.
func newSpelling(of any, v *visit, r *sessioncodec.Record) *spelling {
	sp := &spelling{of: of, record: r}
	sp.subject, sp.bound, _ = bound(r)
	last := v.spelling
	if last != nil && last.id.Random == v.id.Random {
		sp.ref = last.ref
	} else {
		sp.ref = v.ref()
	}
	if v.shown.Random != v.id.Random {
		return sp // found by another session's id
	}
	if sp.id, sp.home = v.shown, v.home; last != nil && last.id == v.shown {
		sp.shown = last.shown
	} else {
		sp.shown = v.shown.String()
	}
	sp.proven.Store(v.proven)
	return sp
}

// recordOf is the record of st, which is often what the request was given.
func (v *visit) recordOf(st *state) *sessioncodec.Record {
	if v.spelling != nil && v.spelling.of == any(&st.packed[0]) {
		return v.spelling.record
	}
	return st.record()
}

// say spells the session for an access at that time.
func (h *Handler) say(sp *spelling, accessed int64) *words {
	var expires int64
	if r := sp.record; r != nil {
		expires = min(accessed+int64(r.Idle)*1000, r.Created+int64(r.Lifetime)*1000) / 1000
	}
	last := sp.words.Load()
	if last != nil && last.expires == expires {
		return last
	}
	next := &words{expires: expires}
	if last != nil {
		next.object = last.object
	} else {
		next.object = spellObject(sp.record)
	}
	h.meta(next, sp)
	sp.words.Store(next)
	if last == nil && sp.shown != "" && len(next.object) > weight(sp.record) {
		h.keep(sp) // its escapes take more than was accounted for
	}
	return next
}

// spellObject spells Pillion-Session.
func spellObject(r *sessioncodec.Record) string {
	if r == nil {
		return "{}"
	}
	b := spelled.Get().(*[]byte)
	defer spelled.Put(b)
	*b = sessioncodec.AppendObject((*b)[:0], r)
	return string(*b)
}

// spelled are buffers to spell in.
var spelled = sync.Pool{New: func() any { return new([]byte) }}

// meta spells Pillion-Meta, a dictionary of RFC 9651. What names the content of the record, equal for equal attributes, is opaque to the app.
func (h *Handler) meta(w *words, sp *spelling) {
	var buf [256]byte
	b := buf[:0]
	if r := sp.record; r == nil {
		b = append(b, "new"...)
	} else {
		digest := r.Digest()
		b = hex.AppendEncode(append(b, `v="`...), digest[:])
		b = append(append(b, `", new=?0, ref="`...), sp.ref...)
		b = strconv.AppendInt(append(b, `", created=@`...), r.Created/1000, 10)
		b = strconv.AppendInt(append(b, ", exp=@"...), w.expires, 10)
		b = strconv.AppendUint(append(b, ", idle="...), uint64(r.Idle), 10)
	}
	b = strconv.AppendInt(append(b, ", size="...), int64(len(w.object)), 10)
	b = append(b, ", inline"...)
	if !h.inline(w) {
		b = append(b, "=?0"...)
	}
	w.meta = string(b)
	if sp.record != nil {
		_, quoted, _ := strings.Cut(w.meta, `"`)
		w.etag, _, _ = strings.Cut(quoted, `"`)
	}
}

func (h *Handler) inline(w *words) bool { return len(w.object) <= h.opts.InlineMax }

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
		v.spelling = newSpelling(of, v, record())
		h.keep(v.spelling)
	}
	v.loaded = v.spelling.record
}

// expect makes st of s, whose record is r, what the next request of v's session finds ready: so it need not be unpacked, nor spelled before somebody
// asks. A session that no request has read since it came into memory is not expected to be read.
func (h *Handler) expect(v *visit, s *session, st *state, r *sessioncodec.Record) {
	if v.spelling != nil && v.shown == st.id {
		v.home = s // which a takeover may have moved
		h.keep(newSpelling(&st.packed[0], v, r))
	}
}

// keep makes sp what the next request of its session looks at first.
func (h *Handler) keep(sp *spelling) {
	if sp.shown == "" {
		return
	}
	h.spellings.Put(seatOf(sp.shown), sp, sp.size())
	h.opts.Metrics.HeaderCache.Set(float64(h.spellings.Bytes()))
}

const (
	// spellingOverhead is what a spelling takes beside its texts: itself, Pillion-Meta, the record's fixed part, its place in the cache.
	spellingOverhead = 800
	entrySize        = 64
)

// size is what sp takes in memory, with its record: that may be the last that refers to it. What is not spelled yet counts as if no character
// needed an escape.
func (sp *spelling) size() int64 {
	object := weight(sp.record)
	n := spellingOverhead + len(sp.shown) + len(sp.ref) + len(sp.subject) + object + entrySize*len(sp.record.Entries)
	if w := sp.words.Load(); w != nil {
		object = max(object, len(w.object))
	}
	return int64(n + object)
}
