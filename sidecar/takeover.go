package sidecar

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

const (
	// takeoverRounds bounds how often two sidecars that take over the same session at once get in each other's way.
	takeoverRounds = 8
	// takeoverWithin bounds a takeover that a commit needs: it may wait for an owner's running commit, or for a fence.
	takeoverWithin = 3 * time.Second
	// pauseLeast is how long a taker waits for a busy owner, and up to twice that.
	pauseLeast = 30 * time.Millisecond
)

var errOutrun = errors.New("sidecar: another sidecar took the session over first")

// takeover is one takeover under way.
type takeover struct {
	k     *sticky
	s     *session
	shown ring.ID              // as the client has it
	known *sessioncodec.Record // join of everything seen
	kept  *state               // what memory had

	stored *sessioncodec.Record // what the nodes had at the last reading

	settled sessioncodec.Owner  // the owner that cannot change the session any more; the same sidecar at a later epoch is another one
	silent  bool                // it had to be fenced
	handed  bool                // it released the session and handed over its newest state
	missing *store.UnknownError // the id's own node was silent at the last reading
	named   bool                // it had a copy
	asked   map[string]bool     // peers that had nothing, when no record was found
}

// takeOver makes this process the owner of a session (K7): read all nodes and join; ask the recorded owner to release, whatever anybody
// believes of it; write the joined record with the next epoch to every node in one order, starting again when a node knows an owner of an
// epoch as high. s.mu is held. No state: the session is absent. A state that is not owned says how the session ended.
func (k *sticky) takeOver(ctx context.Context, s *session, shown ring.ID) (*state, error) {
	s.taking.Store(true)
	defer s.taking.Store(false)
	t := takeover{k: k, s: s, shown: shown, kept: s.now.Load(), asked: map[string]bool{}}
	for range takeoverRounds {
		found, err := k.h.load(ctx, shown, store.Everywhere)
		if err != nil {
			return nil, err
		}
		t.stored, t.missing, t.named = found.Record, found.Silent, found.Seen.Node == shown.Node
		t.known = sessioncodec.Join(t.known, found.Record)
		if t.counts() {
			t.known = sessioncodec.Join(t.known, t.kept.record())
		}
		if t.known == nil {
			again, err := t.search(ctx)
			if again {
				continue
			}
			if found.Lost && err == nil {
				k.h.count("lost")
			}
			return nil, err
		}
		k.h.clock.See(t.known)
		if t.known.State != sessioncodec.Live {
			return newState(shown, t.known, false, false), nil
		}
		again, err := t.dispossess(ctx) // also when it looks expired: a copy that is left may be from before the owner's last touch
		if err != nil {
			return nil, err
		}
		if again {
			continue
		}
		write, err := t.write()
		if err != nil {
			return nil, err
		}
		if t.known.Expired(time.Now(), k.h.touch) {
			return newState(shown, t.known, false, false), nil
		}
		st, err := t.claim(ctx, write)
		if !errors.Is(err, errOutrun) {
			return st, err
		}
	}
	return nil, errBusy
}

// counts tells whether what memory kept is joined. What was released to another owner a while ago may hold attributes whose deletions that one
// has forgotten since (forget.go). And a session that is found nowhere may have ended there, and the nodes have lost its tombstone.
func (t *takeover) counts() bool {
	switch {
	case t.kept == nil:
		return false
	case t.known == nil:
		return t.s.testifies(t.kept) && !ring.EpochBefore(t.kept.id.Epoch, t.shown.Epoch)
	}
	return t.kept.owned || t.known.Owner.Epoch <= t.kept.record().Owner.Epoch || t.s.releasedWithin(lateAfter)
}

// dispossess makes sure that the recorded owner changes the session no more; again means that the nodes must be read once more before
// claiming, for what it wrote last may have landed after the reading.
func (t *takeover) dispossess(ctx context.Context) (again bool, err error) {
	h, owner := t.k.h, t.known.Owner
	switch {
	case !h.connected() || owner.Route == "" || owner.Route == h.opts.Route:
		return false, nil // an earlier life of this very route is dead
	case owner == t.settled && t.silent && (t.stored == nil || t.stored.Digest() != t.known.Digest()):
		// It was cut off, and this memory knows more than the nodes: an acknowledged write may be out of sight.
		return false, store.ErrUnknown
	case owner == t.settled:
		return false, nil
	}
	if alive, known := h.pulses.of(owner.Route); known && !alive && h.fencing(owner.Route) {
		t.settled, t.silent = owner, true // it was silent just now, and cannot trust its memory
		return true, h.fence(ctx, owner.Route)
	}
	v, reply, err := h.ask(ctx, owner.Route, callRelease, message{random: t.shown.Random, issued: t.shown.Issued, epoch: owner.Epoch})
	t.known = sessioncodec.Join(t.known, reply.record)
	switch {
	case errors.Is(err, errSilent):
		t.settled, t.silent = owner, true
		return true, h.fence(ctx, owner.Route)
	case errors.Is(err, ErrRefused) || err == nil && v == notMine:
		t.settled, t.silent = owner, false
		return true, nil
	case err != nil:
		return false, err
	case v == busy:
		return true, h.pause(ctx)
	}
	t.handed = v == released
	return false, nil
}

// search asks every peer for a session that no node has, before it is called lost.
func (t *takeover) search(ctx context.Context) (again bool, err error) {
	h := t.k.h
	if !h.connected() {
		return false, nil
	}
	for _, route := range h.peerRoutes() {
		if t.asked[route] {
			continue
		}
		v, reply, err := h.ask(ctx, route, callRelease, message{random: t.shown.Random, issued: t.shown.Issued, epoch: uint32(t.shown.Epoch)})
		switch {
		case errors.Is(err, ErrRefused):
		case err != nil:
			return false, store.ErrUnknown
		case v == busy:
			return true, h.pause(ctx)
		case reply.record != nil:
			t.known = sessioncodec.Join(t.known, reply.record)
			return true, nil
		}
		t.asked[route] = true
	}
	return false, nil
}

// claim writes this process into the record as its owner.
func (t *takeover) claim(ctx context.Context, write store.Write) (*state, error) {
	k, s := t.k, t.s
	if !k.table.room() {
		return nil, errOverload
	}
	mine := *t.known
	// A request takes it over, and memory writes to the ring again a touch interval after this: copies must not know of an older use.
	mine.Accessed = max(mine.Accessed, time.Now().UnixMilli())
	mine.Owner = k.h.owner(max(t.known.Owner.Epoch, s.promise.Load()) + 1)
	write.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		if stored != nil && stored.Owner.Epoch >= mine.Owner.Epoch && stored.Owner != mine.Owner {
			return nil, errOutrun
		}
		return sessioncodec.Join(&mine, stored), nil
	}
	saved, err := k.h.opts.Store.Save(ctx, t.shown, write)
	if write.Anchor != "" && errors.Is(err, store.ErrUnacknowledged) {
		return nil, store.ErrUnknown
	}
	if err != nil {
		return nil, err
	}
	record := sessioncodec.Join(&mine, saved.Record)
	if record.State == sessioncodec.Live && (record.Owner != mine.Owner || s.promise.Load() >= mine.Owner.Epoch) {
		t.known = record
		return nil, errOutrun
	}
	id := t.shown
	id.Epoch = uint16(mine.Owner.Epoch)
	id.Route = k.h.opts.Route
	st := newState(k.h.relabel(id, saved.Node), record, record.State == sessioncodec.Live, !saved.Short)
	s.accessed.Store(max(s.accessed.Load(), record.Accessed))
	s.confirm()
	s.touched.Store(time.Now().UnixMilli())
	k.remember(s, st)
	k.h.count("takeover")
	return st, nil
}

// write says how to write a claim: to every node. With copies: 1 only the node that the id names is sure to have all that was acknowledged;
// what lies elsewhere was left there by an earlier owner. While it is silent, the session is UNKNOWN, unless its owner handed it over. And while the
// owner may live, that node is written first and over the copy it holds, so that what the owner commits until then is joined in (F4).
func (t *takeover) write() (store.Write, error) {
	w := store.Write{Wait: store.Both, Refill: true}
	if t.k.h.opts.Copies > 1 || t.handed {
		return w, nil
	}
	if t.missing != nil && time.Duration(t.missing.DownFor)*time.Millisecond <= t.k.h.opts.UnknownFor {
		return w, t.missing
	}
	if t.silent && !t.named && t.shown.Node != "" {
		return w, store.ErrUnknown // it has lost what the owner alone knows
	}
	if t.silent {
		w.Anchor, w.Refill = t.shown.Node, false
	}
	return w, nil
}

// pause lets a busy owner's commit end. Two that wait for it do not come back at once.
func (h *Handler) pause(ctx context.Context) error {
	var random [2]byte
	mustRead(h.opts.Random, random[:])
	spread := time.Duration(binary.LittleEndian.Uint16(random[:])) * pauseLeast / math.MaxUint16
	select {
	case <-time.After(pauseLeast + spread):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
