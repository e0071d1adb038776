package sidecar

import (
	"context"
	"errors"
	"fmt"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// handOver ends a commit that found another owner in the ring (K6). The nodes have the edit already, joined; the owner's memory has not,
// so it is handed the record before the client is answered. If it does not take it, this process takes the session over again.
// It returns the session's new id.
func (k *sticky) handOver(ctx context.Context, s *session, id ring.ID, node string, record *sessioncodec.Record) (ring.ID, error) {
	k.h.count("fenced")
	k.remember(s, newState(id, record, false, true))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeoverWithin)
	defer cancel()
	if k.give(ctx, id, record) {
		id.Route, id.Epoch = record.Owner.Route, uint16(record.Owner.Epoch)
		return k.h.relabel(id, node), nil
	}
	taken, err := k.takeOver(ctx, s, id)
	if err != nil {
		return id, untold(err)
	}
	if taken == nil || !taken.owned {
		k.table.drop(s)
		return id, errGone
	}
	return taken.id, nil
}

// give hands the owner of a record what this process knows, and tells whether it took it.
func (k *sticky) give(ctx context.Context, id ring.ID, record *sessioncodec.Record) bool {
	if !k.h.connected() || record.Owner.Route == "" || record.Owner.Route == k.h.opts.Route {
		return false
	}
	v, _, err := k.h.ask(ctx, record.Owner.Route, callJoin, message{random: id.Random, issued: id.Issued, epoch: record.Owner.Epoch, record: record})
	return err == nil && v == owned
}

// untold is why a change is not acknowledged that a node has taken already. It may show later, so the reason must not be one of those that
// promise the client that nothing was applied.
func untold(err error) error {
	if err == nil || errors.Is(err, errGone) {
		return err
	}
	return fmt.Errorf("%w: it is in the ring, but: %s", store.ErrUnacknowledged, err.Error())
}
