package sidecar

import (
	"context"
	"errors"
	"fmt"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// handOverRounds bounds how often a change is merged again into what the new owner made of the session meanwhile.
const handOverRounds = 3

// handOver ends a commit that found another owner in the ring (K6). The nodes have the changes already, joined; the owner's memory has not,
// so it is handed the record before the client is answered. If it does not take it, this process takes the session over again. What the
// owner merged into an attribute until then lacks what was merged here, if it wrote to another node: that is merged in once more.
func (k *sticky) handOver(ctx context.Context, s *session, g *group, node string, record *sessioncodec.Record) error {
	k.h.count("fenced")
	k.remember(s, newState(g.id, record, false, true))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeoverWithin)
	defer cancel()
	id := g.id
	for range handOverRounds {
		theirs, took := k.give(ctx, g.id, record)
		if !took {
			return k.takeBack(ctx, s, g)
		}
		id.Route, id.Epoch = theirs.Owner.Route, uint16(theirs.Owner.Epoch)
		g.relabel(k.h.relabel(id, node))
		more, err := g.again(theirs)
		if more == nil || err != nil {
			return err
		}
		if record, err = k.join(ctx, g.id, more); err != nil {
			return err
		}
	}
	return errBusy
}

// takeBack makes this process the owner again of what it could not hand over.
func (k *sticky) takeBack(ctx context.Context, s *session, g *group) error {
	taken, err := k.takeOver(ctx, s, g.id)
	if err != nil {
		return err
	}
	if taken == nil || !taken.owned {
		k.table.drop(s)
		return errGone
	}
	g.relabel(taken.id)
	more, err := g.again(taken.record())
	if more == nil || err != nil {
		return err
	}
	joined, err := k.join(ctx, taken.id, more)
	if err != nil {
		return err
	}
	mine := joined.State == sessioncodec.Live && joined.Owner == more.Owner
	if k.remember(s, newState(taken.id, joined, mine, true)); !mine {
		return errBusy
	}
	return nil
}

// join writes a record into the nodes, and returns what they made of it.
func (k *sticky) join(ctx context.Context, id ring.ID, r *sessioncodec.Record) (*sessioncodec.Record, error) {
	saved, err := k.h.save(ctx, id, store.Write{Copies: k.copies(), Wait: k.wait(), Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(r, stored), nil
		},
	})
	return sessioncodec.Join(r, saved.Record), err
}

// give hands the owner of a record what this process knows, and returns what it then has and whether it took it.
func (k *sticky) give(ctx context.Context, id ring.ID, record *sessioncodec.Record) (theirs *sessioncodec.Record, took bool) {
	if !k.h.connected() || record.Owner.Route == "" || record.Owner.Route == k.h.opts.Route {
		return nil, false
	}
	v, reply, err := k.h.ask(ctx, record.Owner.Route, callJoin, message{random: id.Random, issued: id.Issued, epoch: record.Owner.Epoch, record: record})
	return reply.record, err == nil && v == owned && reply.record != nil
}

// untold is why a change is not acknowledged that a node has taken already. It may show later, so the reason must not be one of those that
// promise the client that nothing was applied.
func untold(err error) error {
	if err == nil || errors.Is(err, errGone) {
		return err
	}
	return fmt.Errorf("%w: it is in the ring, but: %s", store.ErrUnacknowledged, err.Error())
}
