package sidecar

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

var (
	errGone     = errors.New("sidecar: the session ended while the app worked")
	errFrozen   = errors.New("sidecar: the session was renewed; this id only reads")
	errBusy     = errors.New("sidecar: other sidecars change the session")
	errOverload = errors.New("sidecar: the memory for sessions is full")
)

// commitWithin bounds all that a commit waits for before it writes: its turn among the other commits of the session, a takeover. The
// writing has commit_timeout from then on: how long the queue was says nothing of the nodes.
const commitWithin = 10 * time.Second

// apply commits what the app asks. A client that left does not stop it: the app has acted. Where this process stood still since it loaded
// the session, fronts gave up waiting and others may have changed it, so a newer value is a conflict as under a lock: it was acknowledged,
// and this change was not.
func (h *Handler) apply(ctx context.Context, v *visit, in *instructions) error {
	if in.none() {
		return nil
	}
	if err := h.crowd.enter(); err != nil {
		return err
	}
	defer h.crowd.leave()
	start := time.Now()
	v.exact = v.exact || h.heart.stoodStill(v.accessed, start)
	turn := within(context.WithoutCancel(ctx), start, commitWithin)
	defer turn.end()
	err := h.dispatch(turn, v, in)
	h.opts.Metrics.CommitSeconds.Observe(time.Since(start).Seconds())
	h.committed(err).Inc()
	return err
}

// dispatch applies in the contract's order: destroy ends everything else; then the content, subject and idle; renew comes last.
func (h *Handler) dispatch(ctx context.Context, v *visit, in *instructions) error {
	if in.subject != nil && h.opts.Keyed != nil {
		var err error
		if in.epoch, err = h.subjects.epoch(ctx, *in.subject, 0); err != nil {
			return err
		}
	}
	switch {
	case in.destroy:
		return h.destroy(ctx, v)
	case in.renew:
		return h.renew(ctx, v, in)
	case v.loaded == nil:
		return h.bear(ctx, v, in)
	case v.frozen:
		return errFrozen
	}
	e := h.edit(v, in)
	err := h.commit(ctx, v, e)
	if err == nil && in.subject != nil && !v.frozen { // else follow has noted it
		h.subjects.noted(v.id, e.record())
	}
	if errors.Is(err, errLockLost) {
		if w, ok := e.giveBack(); ok {
			if _, lost := h.save(ctx, v.id, w); lost != nil {
				err = untold(err)
			}
		}
	}
	return err
}

// save writes a commit into the ring.
func (h *Handler) save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	writing := within(ctx, time.Now(), h.opts.CommitTimeout)
	defer writing.end()
	return h.opts.Store.Save(writing, id, w)
}

func (h *Handler) edit(v *visit, in *instructions) *edit {
	return &edit{in: in, loaded: v.loaded, exact: v.exact, clock: h.clock, now: time.Now().UnixMilli(), limit: h.opts.MaxSize}
}

// meet takes a record that this process does not own in memory: shared mode's, or one that has ended.
func (h *Handler) meet(v *visit, r *sessioncodec.Record, now time.Time) {
	switch {
	case r.State == sessioncodec.Destroyed:
	case r.State == sessioncodec.Superseded && !v.successor && !h.inGrace(r.To.At, now):
	case r.Expired(now, h.touch):
		h.count("expired")
	default:
		v.accessed, v.frozen = now.UnixMilli(), r.State == sessioncodec.Superseded
		h.spell(v, r, func() *sessioncodec.Record { return r })
	}
}

// owner is this process as the owner of a session at an epoch.
func (h *Handler) owner(epoch uint32) sessioncodec.Owner {
	return sessioncodec.Owner{Epoch: epoch, Route: h.opts.Route, Incarnation: h.opts.Incarnation}
}

// relabel makes the id name the node that holds the session now.
func (h *Handler) relabel(id ring.ID, node string) ring.ID {
	if id.Node != node && id.Node != "" && node != "" {
		h.count("relocated")
	}
	if node != "" {
		id.Node = node
	}
	return h.keys.Load().Sign(id)
}

func (h *Handler) count(event string) { h.opts.Metrics.Sessions.WithLabelValues(event).Inc() }

// refuse turns an error into Pillion's own answer; no detail of it names an id, a key or a value.
func (h *Handler) refuse(v *visit, err error) *head.Reply {
	reply := h.reply(err)
	h.opts.Log.Warn("a request could not be served", "token", reply.Token, "ref", v.ref(), "error", err)
	return reply
}

func (h *Handler) reply(err error) *head.Reply {
	var unknown *store.UnknownError
	switch {
	case errors.As(err, &unknown) && unknown.All:
		return head.Fail(503, head.RingDown, "no session node answers")
	case errors.Is(err, store.ErrUnknown):
		return head.Fail(503, head.RingUnknown, "the node that may hold the session does not answer")
	case errors.Is(err, store.ErrLocked):
		return head.Fail(503, head.LockTimeout, "another request of this session still holds its lock")
	case errors.Is(err, errLockLost):
		return head.Fail(503, head.LockLost, "another request changed the session meanwhile; nothing was applied")
	case errors.Is(err, errTooLarge):
		return head.Fail(502, head.SessionTooLarge, "the session would exceed session.max_size")
	case errors.Is(err, errContract):
		return head.Fail(502, head.ContractError, err.Error())
	case errors.Is(err, store.ErrBusy):
		return head.Fail(503, head.Overload, "too many requests wait for the session nodes")
	case errors.Is(err, errCrowd):
		return head.Fail(503, head.Overload, "too many requests wait for their sessions")
	case errors.Is(err, errTooManyBirths):
		return head.Fail(429, head.Overload, "too many new sessions from this address (limits.creations)")
	case errors.Is(err, errOverload):
		return head.Fail(503, head.Overload, "the memory for sessions is full")
	case errors.Is(err, errFrozen):
		return head.Fail(503, head.CommitFailed, "the session was renewed by another request; try again with the new cookie")
	}
	return head.Fail(503, head.CommitFailed, "the session could not be kept; nothing was promised")
}

func (h *Handler) committed(err error) prometheus.Counter {
	if err == nil {
		return h.kept
	}
	return h.opts.Metrics.Commits.WithLabelValues(outcome(err))
}

// outcome is the label under which a commit is counted.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errGone):
		return "gone"
	case errors.Is(err, errLockLost):
		return "lock_lost"
	case errors.Is(err, errTooLarge):
		return "too_large"
	}
	return "failed"
}
