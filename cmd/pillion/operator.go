package main

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/pillion-proxy/pillion/internal/admin"
	"github.com/pillion-proxy/pillion/internal/memcached"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
)

// operator acts on single sessions for the admin listener.
type operator struct {
	store    *memcached.Store
	handler  *sidecar.Handler
	space    string
	lifetime time.Duration

	revocation time.Duration
}

func (p *process) operator() *operator {
	c := p.current()
	return &operator{store: p.store, handler: p.handler, space: c.Space, lifetime: c.Session.Lifetime, revocation: c.Session.Revocation}
}

var refPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{32}$`)

// copyReport is one node's copy. It shows no values: names and sizes are what an operator needs.
type copyReport struct {
	Node       string         `json:"node"`
	Error      string         `json:"error,omitempty"`
	State      string         `json:"state,omitempty"`
	Bytes      int            `json:"bytes,omitempty"`
	Created    time.Time      `json:"created,omitzero"`
	Accessed   time.Time      `json:"accessed,omitzero"`
	Owner      string         `json:"owner,omitempty"`
	Epoch      uint32         `json:"epoch"`
	Attributes map[string]int `json:"attributes,omitempty"` // name -> bytes
}

// Show describes the copies that the nodes hold.
func (o *operator) Show(ctx context.Context, ref, id string) (any, error) {
	key, err := o.key(ref, id)
	if err != nil {
		return nil, err
	}
	found := false
	var copies []copyReport
	for _, c := range o.store.Copies(ctx, key) {
		r := copyReport{Node: c.Node, Bytes: c.Bytes}
		if c.Err != nil {
			r.Error = c.Err.Error()
		}
		if c.Record != nil {
			found = true
			r.describe(c.Record)
		}
		copies = append(copies, r)
	}
	if !found {
		return nil, admin.ErrNoSession
	}
	return map[string]any{"ref": refOf(key), "copies": copies}, nil
}

func (r *copyReport) describe(record *sessioncodec.Record) {
	r.State = [...]string{"live", "superseded", "destroyed"}[record.State]
	r.Created, r.Accessed = time.UnixMilli(record.Created).UTC(), time.UnixMilli(record.Accessed).UTC()
	r.Owner, r.Epoch = record.Owner.Route, record.Owner.Epoch
	r.Attributes = map[string]int{}
	for _, e := range record.Entries {
		if e.Kind == sessioncodec.JSON || e.Kind == sessioncodec.Opaque {
			r.Attributes[e.Name] = len(e.Value)
		}
	}
}

// Destroy ends a session on every node that answers, and in this sidecar's memory. Another sidecar that serves it from memory notices at
// its next touch.
func (o *operator) Destroy(ctx context.Context, ref, id string) (any, error) {
	key, err := o.key(ref, id)
	if err != nil {
		return nil, err
	}
	var owner string
	for _, c := range o.store.Copies(ctx, key) {
		if c.Record != nil && c.Record.Owner.Route != "" {
			owner = c.Record.Owner.Route
		}
	}
	now := time.Now().UnixMilli()
	tomb := &sessioncodec.Record{State: sessioncodec.Destroyed, Created: now, Accessed: now, Lifetime: uint32(o.lifetime.Seconds())}
	saved, err := o.store.SaveKey(ctx, key, "", store.Write{Wait: store.Both, Refill: true,
		Join: func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			return sessioncodec.Join(tomb, stored), nil
		}})
	if err != nil {
		return nil, fmt.Errorf("destroy: %w", err)
	}
	result := map[string]any{"ref": refOf(key), "nodes": saved.Acks, "complete": !saved.Short}
	if o.handler.Forget(refOf(key)) {
		result["home"] = "told: this sidecar served it from memory"
	} else if owner != "" {
		result["home"] = "not told: " + owner + " may serve it from memory until its next touch"
	}
	return result, nil
}

// DestroySubject ends every session of a subject.
func (o *operator) DestroySubject(ctx context.Context, subject string) (any, error) {
	n, err := o.handler.DestroySubject(ctx, subject)
	if err != nil {
		return nil, fmt.Errorf("destroy-subject: %w", err)
	}
	return map[string]any{"listed": n, "everywhere_within": o.revocation.String()}, nil
}

func (o *operator) key(ref, id string) (string, error) {
	if id != "" {
		parsed, err := ring.ParseID(id)
		if err != nil {
			return "", admin.ErrBadName
		}
		return ring.StorageKey(o.space, parsed.Random), nil
	}
	if !refPattern.MatchString(ref) {
		return "", admin.ErrBadName
	}
	return ring.RefKey(o.space, ref), nil
}

func refOf(key string) string { return key[len(key)-32:] }
