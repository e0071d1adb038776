package sidecar

import (
	"context"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

// Store is the ring as the session engine sees it: it keeps copies of records and joins them, and knows nothing of cookies,
// owners or policies.
//
// Absence is a value (Found.Record == nil). An error means that the ring could not answer, or could not keep what it was given.
type Store interface {
	// Place names the node that a new session shall lie on, "" while no node is up.
	Place() string
	// Load returns the join of the copies it asks for. A copy found missing or behind is not repaired: see Found.Short.
	Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error)
	// Save joins a record into the nodes of id.
	Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error)
	// Lock takes the session's lock in the ring, waiting at most wait for each of its holders; moved is told when another one has it. unlock gives
	// it back if it is still ours.
	Lock(ctx context.Context, id ring.ID, wait time.Duration, moved func()) (unlock func(), err error)
}

// Keyed reaches records by storage key: the sessions of a subject, and sessions of which only the ref is known.
type Keyed interface {
	LoadKey(ctx context.Context, key string) (store.Found, error)
	SaveKey(ctx context.Context, key, first string, w store.Write) (store.Saved, error)
}

// Fences are the keys in the ring by which a sidecar tells another one, which it cannot reach, to trust its memory no more.
type Fences interface {
	// Fence writes the fence key of a route on every node; an error means that too few took it to be sure that it is seen.
	Fence(ctx context.Context, route string, ttl time.Duration) error
	// Fenced looks for the fence key of a route.
	Fenced(ctx context.Context, route string) store.Fence
}
