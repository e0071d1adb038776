package memcached

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// maxTries bounds how often one node is written again after a conflict.
const maxTries = 10

// ErrTooLarge: the sealed record is more than a node takes. Nothing was sent.
var ErrTooLarge = errors.New("memcached: the session is too large for an item (lower session.max_size)")

var (
	errContended = errors.New("memcached: too many writers of one session at once")
	errUnsure    = errors.New("memcached: the node lacks the session, and others that may have it do not answer")
)

// blob is a sealed record.
type blob struct {
	bytes  []byte
	record *sessioncodec.Record // as sealed, with its lives
}

// write is the one write primitive (K3): read; join what is there with what is to be stored; the same: done; else cas over a hit or
// add after a miss; a conflict: again. In a rewrite everything known goes in too.
// It tells whether the node acknowledged.
func (sv *save) write(n *node, rewrite bool) bool {
	err := sv.tryWrite(n, rewrite)
	if err != nil {
		sv.s.log.Debug("a copy was not written", "node", n.name, "ref", refOf(sv.key), "error", err)
	}
	sv.mu.Lock()
	sv.settled = sv.settled || len(sv.order) == 0 || n == sv.order[0]
	sv.slow = sv.slow || err != nil && resultOf(err) == timeout
	sv.mu.Unlock()
	sv.notify()
	return err == nil
}

func (sv *save) tryWrite(n *node, rewrite bool) error {
	held, known := sv.given(n, rewrite)
	for try := range maxTries {
		if !known {
			if held = sv.read(n); held.err != nil {
				return held.err
			}
		}
		known = false
		next, err := sv.joined(n, held, sv.Birth && try == 0)
		if err != nil {
			return err
		}
		holding := livesOf(sv.order[:min(len(sv.order), sv.s.copies)])
		if held.record != nil && next.Same(held.record) && holding.in(held.record) {
			sv.acknowledge(n, next)
			return nil
		}
		sealed, err := sv.seal(next, holding)
		if err != nil {
			return sv.abort(err)
		}
		if err := sv.offer(); err != nil {
			return err
		}
		conflict, err := n.put(held.item, sv.key, sealed, sv.s.ttl(next, time.Now()))
		if err != nil {
			return err
		}
		if !conflict {
			if rewrite || held.record == nil && !sv.Birth && sv.Copies > 0 {
				sv.s.metrics.Repairs.Inc()
			}
			sv.acknowledge(n, next)
			return nil
		}
	}
	return errContended
}

// given is what the first try takes for the node's answer without asking it: for a birth a miss; else the load's own answer, while
// the node keeps the life that was read in.
func (sv *save) given(n *node, rewrite bool) (held answer, ok bool) {
	l := n.now.Load()
	switch {
	case rewrite:
		return answer{}, false
	case sv.Birth:
		return answer{node: n, item: item{life: sv.lives[slices.Index(sv.order, n)]}}, true
	case sv.Seen.Node == n.name && sv.Seen.Record != nil && sv.Seen.Generation == l.generation:
		return answer{node: n, record: sv.Seen.Record, item: item{hit: true, cas: sv.Seen.CAS, life: l}}, true
	}
	return answer{}, false
}

// read asks the node. The copies of a session mostly have the same bytes; those are opened once.
func (sv *save) read(n *node) answer {
	a := answer{node: n}
	if a.item, a.err = n.get(sv.key); !a.hit {
		return a
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for _, last := range []blob{sv.opened, sv.sealed} {
		if last.record != nil && bytes.Equal(a.value, last.bytes) {
			a.record = last.record
			return a
		}
	}
	if a.record = sv.s.open(n, sv.key, a.value); a.record != nil {
		sv.opened = blob{a.value, a.record}
	}
	return a
}

// joined is what the node shall hold. A session that it lacks is looked for on the other nodes first: a tombstone may be there. Where one
// acknowledged a birth, and now none has it, the ring was emptied meanwhile, and what it held until then may have been the session's end.
func (sv *save) joined(n *node, held answer, born bool) (*sessioncodec.Record, error) {
	base := held.record
	switch {
	case base == nil && n.name == sv.Anchor:
		return nil, errUnsure
	case base == nil && !born:
		others, all := sv.elsewhere(n)
		switch {
		case others == nil && sv.Birth && sv.acknowledged():
			return nil, errUnsure
		case others == nil && all && !sv.Refill:
			return nil, sv.abort(store.ErrGone)
		case others == nil && !sv.Refill:
			return nil, errUnsure
		}
		base = others
	}
	known, over, err := sv.learn(base)
	if over || err != nil {
		return known, err
	}
	next, err := sv.Join(base)
	if err != nil {
		return nil, sv.abort(err)
	}
	next = sv.forget(next)
	if known, over, err = sv.intend(next); over || err != nil || known.Same(next) {
		return known, err
	}
	// Meanwhile another node's answer was joined. The caller may have made a newer value of what that held, so it is asked again:
	// a plain join would bring the value back that it was made of.
	if next, err = sv.Join(known); err != nil {
		return nil, sv.abort(err)
	}
	known, _, err = sv.intend(sv.forget(next))
	return known, err
}

func (sv *save) forget(r *sessioncodec.Record) *sessioncodec.Record {
	if sv.Forget == nil {
		return r
	}
	return sv.Forget(r)
}

// learn adds what a node holds to what is known. It tells whether the caller has the outcome: then the node gets that, and nothing is made of it
// any more (decision 26).
func (sv *save) learn(held *sessioncodec.Record) (known *sessioncodec.Record, over bool, fatal error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.known = sv.forget(sessioncodec.Join(sv.known, held))
	return sv.known, sv.answered, sv.fatal
}

// intend adds what a node shall hold to what is known, if the caller has not been told the outcome without it.
func (sv *save) intend(next *sessioncodec.Record) (known *sessioncodec.Record, over bool, fatal error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if !sv.answered {
		sv.known = sv.forget(sessioncodec.Join(next, sv.known))
	}
	return sv.known, sv.answered, sv.fatal
}

// elsewhere joins what the other nodes hold, and tells whether all of them answered.
func (sv *save) elsewhere(n *node) (others *sessioncodec.Record, all bool) {
	all = true
	for _, a := range sv.s.readAll(context.Background(), sv.fleet, sv.key, []answer{{node: n}}) {
		others = sessioncodec.Join(others, a.record)
		all = all && a.err == nil
	}
	return others, all
}

// seal seals r for nodes with these lives. The second copy is the first one's bytes when it is the same.
func (sv *save) seal(r *sessioncodec.Record, holding lives) ([]byte, error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for _, last := range []blob{sv.sealed, sv.opened} {
		if last.record != nil && holding.in(last.record) && r.Same(last.record) {
			return last.bytes, nil
		}
	}
	labelled := *r
	labelled.Life1, labelled.Life2 = holding[0], holding[1]
	known := sv.s.opened.Load() // before the codec: see SetCodec
	sealed, err := sv.s.codec.Load().Seal(sv.key, &labelled)
	if err != nil {
		return nil, err
	}
	if len(sv.key)+len(sealed) > maxItem {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(sealed))
	}
	sv.sealed = blob{sealed, &labelled}
	known.keep(sv.key, sv.sealed)
	return sealed, nil
}

func (sv *save) acknowledge(n *node, r *sessioncodec.Record) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.known = sv.forget(sessioncodec.Join(sv.known, r))
	for i := range sv.acks {
		if sv.acks[i].node == n {
			sv.acks[i].record = r
			return
		}
	}
	sv.acks = append(sv.acks, ack{n, r})
}

// offer notes that a node is about to be sent the record, whatever becomes of it; not when the caller was told that none was.
func (sv *save) offer() error {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.offered = sv.offered || sv.fatal == nil
	return sv.fatal
}

// acknowledged tells whether a node has.
func (sv *save) acknowledged() bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return len(sv.acks) > 0
}

// abort ends the write at every node; the first reason stays.
func (sv *save) abort(err error) error {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.fatal == nil {
		sv.fatal = err
	}
	return sv.fatal
}

const (
	// afterLifetime is how long an item may outlive its session's lifetime: the clocks of sidecars and nodes differ.
	afterLifetime = time.Minute
	// longestTTL is the most that memcached takes for a number of seconds; more it takes for a date (M9).
	longestTTL = 30 * 24 * time.Hour
)

// ttl is the expiry of r's item. It only collects garbage: whether a session is expired is in its record.
func (s *Store) ttl(r *sessioncodec.Record, now time.Time) int32 {
	ttl := time.UnixMilli(r.Created).Add(time.Duration(r.Lifetime)*time.Second + afterLifetime).Sub(now)
	if r.State != sessioncodec.Destroyed {
		ttl = min(ttl, time.Duration(r.Idle)*time.Second+s.touchSlack)
	}
	seconds := int64(max(ttl, time.Second) / time.Second)
	if ttl > longestTTL {
		seconds = min(now.Unix()+seconds, math.MaxInt32)
	}
	return int32(seconds)
}
