package sidecar

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// chainLimit bounds how many renewals a destroy or a late patch follows.
const chainLimit = 8

// bear begins a session: the app wrote for a visitor who had none (L8). The client never chooses the id (L1).
func (h *Handler) bear(ctx context.Context, v *visit, in *instructions) error {
	if err := h.begin(ctx, v, in, nil, sessioncodec.Link{}); err != nil {
		return err
	}
	if v.born {
		h.count("created")
		h.subjects.noted(v.id, v.loaded)
	}
	return nil
}

// begin makes a record with a fresh identity, holding what entries say and then what the app asks for.
func (h *Handler) begin(ctx context.Context, v *visit, in *instructions, entries []sessioncodec.Entry, prev sessioncodec.Link) error {
	now := time.Now()
	id, err := ring.NewID(h.opts.Random, now)
	if err != nil {
		return err
	}
	base := &sessioncodec.Record{
		Created: now.UnixMilli(), Accessed: now.UnixMilli(), Prev: prev,
		Idle: uint32(h.opts.Idle.Seconds()), Lifetime: uint32(h.opts.Lifetime.Seconds()),
	}
	if h.opts.Sticky {
		base.Owner, id.Route = h.owner(0), h.opts.Route
	}
	h.clock.See(base)
	for i := range entries {
		entries[i].Stamp = h.clock.Next(sessioncodec.Stamp{}) // the old stamps are older than this record
	}
	if idle, ok := idleOf(entries); ok {
		base.Idle = idle
	}
	e := h.edit(v, in)
	e.exact = false
	changed, err := e.on(base.With(entries...))
	if err != nil || !changed && len(entries) == 0 {
		return err
	}
	if prev == (sessioncodec.Link{}) && !h.births.admit(v.client, now) {
		h.count("throttled")
		return errTooManyBirths
	}
	// The session that the client showed, if any, is another one from here on.
	v.id = h.relabel(id, h.opts.Store.Place())
	v.seen, v.loaded, v.accessed = store.Seen{}, e.mine, now.UnixMilli()
	return h.keeper.birth(ctx, v, e)
}

// renew gives the session a new id (L2): first the new record, then the mark on the old one, which keeps its payload for requests that
// still arrive with the old id.
func (h *Handler) renew(ctx context.Context, v *visit, in *instructions) error {
	if v.loaded == nil {
		return h.bear(ctx, v, in)
	}
	if v.frozen {
		return errFrozen
	}
	base, release, err := h.keeper.hold(ctx, v)
	ended := false
	defer func() { release(ended) }()
	switch {
	case err != nil:
		return err
	case base == nil || base.State == sessioncodec.Destroyed:
		return errGone
	case base.State == sessioncodec.Superseded:
		return errFrozen
	}
	old, now := v.id, time.Now().UnixMilli()
	fresh := *v
	err = h.begin(ctx, &fresh, in, kept(base), sessioncodec.Link{Random: old.Random, Issued: old.Issued, At: now})
	if err != nil {
		return err
	}
	if fresh.id.Random == old.Random {
		return nil // nothing to carry over and nothing asked: there is no session to renew
	}
	to := sessioncodec.Link{Random: fresh.id.Random, Issued: fresh.id.Issued, At: now}
	if err := h.supersede(ctx, old, base, to, &fresh); err != nil {
		h.retract(ctx, fresh.id)
		return err
	}
	ended = true
	*v = fresh
	h.open.move(old.Random, v.id)
	h.count("renewed")
	h.subjects.left(old, base)
	h.subjects.noted(v.id, v.loaded)
	return nil
}

// supersede marks the old record. What other requests wrote into it meanwhile moves into the new session.
func (h *Handler) supersede(ctx context.Context, old ring.ID, base *sessioncodec.Record, to sessioncodec.Link, fresh *visit) error {
	mark := superseded(base, to)
	saved, err := h.mark(ctx, old, mark, h.save)
	if err == nil && saved.Short {
		mark = closing(mark)
		switch again, failed := h.mark(ctx, old, mark, h.finish); {
		case failed == nil:
			saved = again
		case errors.Is(failed, errGone), errors.Is(failed, errFrozen):
			err = failed
		} // else the renewal stands all the same, and this is owed
	}
	if err != nil {
		return err
	}
	if saved.Short {
		id, born, known := fresh.id, fresh.loaded, sessioncodec.Join(base, saved.Record)
		h.owe(old, mark, func(ctx context.Context, found *sessioncodec.Record) error {
			if err := h.carry(ctx, id, born, known, found); err != nil {
				return err
			}
			known = sessioncodec.Join(known, found)
			return nil
		})
	}
	late := difference(base, saved.Record)
	if was, is := binder(base), binder(fresh.loaded); was != is {
		late.subject = nil // the renewal binds it itself
	}
	if late.none() {
		return nil
	}
	e := h.edit(fresh, late)
	err = h.commit(ctx, fresh, e)
	if err == nil && late.subject != nil {
		h.subjects.noted(fresh.id, e.record())
	}
	return err
}

func superseded(r *sessioncodec.Record, by sessioncodec.Link) *sessioncodec.Record {
	mark := *r
	mark.State, mark.To = sessioncodec.Superseded, by
	return &mark
}

// saver is one of the ways to save.
type saver func(context.Context, ring.ID, store.Write) (store.Saved, error)

// mark joins the mark of a renewal into every node that answers; one must.
func (h *Handler) mark(ctx context.Context, old ring.ID, mark *sessioncodec.Record, save saver) (store.Saved, error) {
	// Only a sticky owner may add it where all nodes lack it: in shared mode that it is missing may be a logout's end (L5).
	saved, err := save(ctx, old, store.Write{Wait: store.Both, Refill: h.opts.Sticky,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			if stored != nil && stored.State == sessioncodec.Superseded && stored.To != mark.To {
				return nil, errFrozen // another request renewed it first: all nodes are written in one order, so one of two wins
			}
			return sessioncodec.Join(mark, stored), nil
		}})
	switch {
	case err != nil:
		return saved, err
	case saved.Record.State == sessioncodec.Destroyed:
		return saved, errGone
	case saved.Record.To != mark.To:
		return saved, errFrozen
	}
	return saved, nil
}

// closing is the mark of a renewal that some node lacks when it is answered: who asks that node alone is served the old session as if it were
// live. So that a change meets the mark elsewhere no longer tells that it began before the renewal, and it is refused (L3).
func closing(mark *sessioncodec.Record) *sessioncodec.Record {
	closed := *mark
	closed.Extensions = []sessioncodec.Extension{{ID: sessioncodec.ExtClosed}}
	return sessioncodec.Join(mark, &closed)
}

func closed(r *sessioncodec.Record) bool {
	return slices.ContainsFunc(r.Extensions, func(x sessioncodec.Extension) bool { return x.ID == sessioncodec.ExtClosed })
}

// binder is whom a session is bound to.
func binder(r *sessioncodec.Record) string {
	subject, _, _ := bound(r)
	return subject
}

// carry brings into the successor what a node, written after the renewal was answered, turns out to have taken into the old record while
// that was live. An attribute that the successor has changed since its birth stays as it is there.
func (h *Handler) carry(ctx context.Context, id ring.ID, born, known, found *sessioncodec.Record) error {
	late := difference(known, found)
	if late.none() {
		return nil
	}
	next := &visit{space: h.opts.Space, id: id, successor: true}
	if err := h.keeper.find(ctx, next); err != nil || next.loaded == nil {
		return err
	}
	late.changes = slices.DeleteFunc(late.changes, func(c sessioncodec.Change) bool {
		was, _ := born.Find(c.Name)
		is, _ := next.loaded.Find(c.Name)
		return is.Stamp != was.Stamp
	})
	if binder(born) != binder(next.loaded) {
		late.subject = nil
	}
	if late.none() {
		return nil
	}
	return h.commit(ctx, next, h.edit(next, late))
}

// difference lists what newer has that base lacks, as an app would ask for it.
func difference(base, newer *sessioncodec.Record) *instructions {
	late := &instructions{}
	had, _ := base.FindReserved(reservedSubject)
	if has, ok := newer.FindReserved(reservedSubject); ok && has.Stamp != had.Stamp {
		if subject, epoch, ok := bound(newer); ok {
			late.subject, late.epoch = &subject, epoch
		}
	}
	for _, entry := range newer.Entries {
		if entry.Kind == sessioncodec.Reserved {
			continue
		}
		if had, ok := base.Find(entry.Name); ok && had.Stamp == entry.Stamp {
			continue
		}
		change := sessioncodec.Change{Name: entry.Name, Op: sessioncodec.Put, Kind: entry.Kind, Value: entry.Value}
		if entry.Kind == sessioncodec.Deleted {
			change.Op = sessioncodec.Delete
		}
		late.changes = append(late.changes, change)
	}
	return late
}

// follow brings an edit whose session was renewed meanwhile into the successor; the request had loaded the session while it was live.
// Its client does not learn the new id here (L3).
func (h *Handler) follow(ctx context.Context, v *visit, old *sessioncodec.Record, e *edit) error {
	switch {
	case e.exact:
		return errLockLost
	case closed(old):
		return errFrozen
	}
	if e.hops++; e.hops > chainLimit {
		return errBusy
	}
	next := &visit{space: v.space, id: ring.ID{Random: old.To.Random, Issued: old.To.Issued, Route: h.opts.Route}, successor: true}
	if err := h.keeper.find(ctx, next); err != nil {
		return err
	}
	v.frozen = true
	if next.loaded == nil {
		return errGone
	}
	again := &edit{in: e.in, loaded: next.loaded, clock: h.clock, now: e.now, limit: e.limit, hops: e.hops}
	err := h.commit(ctx, next, again)
	if err == nil && e.in.subject != nil && !next.frozen {
		h.subjects.noted(next.id, again.record())
	}
	return err
}

// kept are the entries that a renewed session carries over: deletions stay behind.
func kept(r *sessioncodec.Record) []sessioncodec.Entry {
	var out []sessioncodec.Entry
	for _, e := range r.Entries {
		if e.Kind != sessioncodec.Deleted {
			out = append(out, e)
		}
	}
	return out
}
