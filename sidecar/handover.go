package sidecar

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// lose ends the ownership of s, whose mu is held, for a node has a record with another owner. Memory keeps what it knows: who takes the session over
// next, here or there, joins it.
func (k *sticky) lose(s *session, rival *sessioncodec.Record) error {
	k.h.count("fenced")
	if st := s.now.Load(); st != nil && st.owned {
		k.disown(s, st, sessioncodec.Join(st.record(), rival))
		s.touched.Store(time.Now().UnixMilli())
	}
	return errOutrun
}

// give hands the owner of a record what this process knows.
func (k *sticky) give(ctx context.Context, id ring.ID, record *sessioncodec.Record) {
	if !k.h.connected() || record.Owner.Route == "" || record.Owner.Route == k.h.opts.Route {
		return
	}
	_, _, _ = k.h.ask(ctx, record.Owner.Route, callJoin, message{random: id.Random, issued: id.Issued, epoch: record.Owner.Epoch, record: record})
}

// untold is why a change is not acknowledged that a node has taken already. It may show later, so the reason must not be one of those that
// promise the client that nothing was applied.
func untold(err error) error {
	if err == nil || errors.Is(err, errGone) {
		return err
	}
	return fmt.Errorf("%w: it is in the ring, but: %s", store.ErrUnacknowledged, err.Error())
}
