package sidecar

import (
	"context"
	"errors"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// takeoverRounds bounds how often two sidecars that take over the same session at once get in each other's way.
const takeoverRounds = 8

var errOutrun = errors.New("sidecar: another sidecar took the session over first")

// takeOver makes this process the owner of a session (K7): read all nodes, join, and write the joined record with the next epoch to
// every node in one order, starting again when a node knows an owner of an epoch as high. s.mu is held.
func (k *sticky) takeOver(ctx context.Context, s *session, shown ring.ID) (*state, error) {
	var known *sessioncodec.Record
	if st := s.now.Load(); st != nil {
		known = st.record
	}
	for range takeoverRounds {
		found, err := k.h.opts.Store.Load(ctx, shown, store.Everywhere)
		if err != nil {
			return nil, err
		}
		if found.Lost && known == nil {
			k.h.count("lost")
		}
		known = sessioncodec.Join(known, found.Record)
		if known == nil {
			return nil, nil
		}
		k.h.clock.See(known)
		if known.State != sessioncodec.Live || known.Expired(time.Now(), k.h.touch) {
			return &state{id: shown, record: known}, nil
		}
		st, err := k.claim(ctx, s, shown, known)
		if !errors.Is(err, errOutrun) {
			return st, err
		}
	}
	return nil, errBusy
}

// claim writes this process into the record as its owner.
func (k *sticky) claim(ctx context.Context, s *session, shown ring.ID, known *sessioncodec.Record) (*state, error) {
	mine := *known
	mine.Owner = k.h.owner(known.Owner.Epoch + 1)
	saved, err := k.h.opts.Store.Save(ctx, shown, store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			if stored != nil && stored.Owner.Epoch >= mine.Owner.Epoch && stored.Owner != mine.Owner {
				return nil, errOutrun
			}
			return sessioncodec.Join(&mine, stored), nil
		}})
	if err != nil {
		return nil, err
	}
	record := sessioncodec.Join(&mine, saved.Record)
	if record.State == sessioncodec.Live && record.Owner != mine.Owner {
		return nil, errOutrun
	}
	id := shown
	id.Epoch = uint16(mine.Owner.Epoch)
	id.Route = k.h.opts.Route
	st := &state{id: k.h.relabel(id, saved.Node), record: record, owned: record.State == sessioncodec.Live, backed: !saved.Short}
	s.accessed.Store(max(s.accessed.Load(), record.Accessed))
	s.touched.Store(time.Now().UnixMilli())
	k.remember(s, st)
	k.h.count("takeover")
	return st, nil
}
