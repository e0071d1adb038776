package memcached

import (
	"context"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Copy is what one node holds of a session.
type Copy struct {
	Node   string
	Record *sessioncodec.Record // nil when it holds none, or one that does not open
	Bytes  int                  // of the stored blob
	Err    error                // the node did not answer
}

// Copies asks every node for its copy of a session by storage key, for operators.
func (s *Store) Copies(ctx context.Context, key string) []Copy {
	var copies []Copy
	for _, a := range s.readAll(ctx, s.fleet.Load(), key, nil) {
		copies = append(copies, Copy{Node: a.node.name, Record: a.record, Bytes: len(a.value), Err: a.err})
	}
	return copies
}
