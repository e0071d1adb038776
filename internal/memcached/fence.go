package memcached

import (
	"context"
	"fmt"
	"time"

	"github.com/pillion-proxy/pillion/internal/store"
)

// fenceKey is the key by which the sidecar with that route learns that another one could not reach it.
func (s *Store) fenceKey(route string) string { return "p1:!fence:" + s.space + ":" + route }

// quorum is how many nodes must take a fence key, and how many must say that there is none: two such sets have a node in common from three
// nodes on, and with two nodes unless each side reaches one only.
func quorum(nodes int) int { return max(1, nodes-1) }

// Fence writes the fence key of a route on every node.
func (s *Store) Fence(ctx context.Context, route string, ttl time.Duration) error {
	f := s.fleet.Load()
	key := s.fenceKey(route)
	took := 0
	for _, ok := range inParallel(ctx, s, f.all(), nil, func(n *node) bool {
		read, err := n.get(key)
		if err != nil {
			return false
		}
		_, err = n.put(read, key, []byte{1}, int32(ttl/time.Second))
		return err == nil // a conflict is another taker's fence
	}) {
		if ok {
			took++
		}
	}
	if took < quorum(len(f.nodes)) {
		return fmt.Errorf("%w: %d of %d nodes took the fence of a silent sidecar", store.ErrUnknown, took, len(f.nodes))
	}
	return nil
}

// Fenced looks for the fence key of a route on all nodes.
func (s *Store) Fenced(ctx context.Context, route string) store.Fence {
	f := s.fleet.Load()
	key := s.fenceKey(route)
	absent, answered := 0, 0
	for _, found := range inParallel(ctx, s, f.all(), nil, func(n *node) store.Fence {
		read, err := n.get(key)
		switch {
		case err != nil:
			return store.FenceUnsure
		case read.hit:
			return store.FenceSet
		}
		return store.FenceClear
	}) {
		switch found {
		case store.FenceSet:
			return store.FenceSet
		case store.FenceClear:
			absent++
			answered++
		}
	}
	switch {
	case absent >= quorum(len(f.nodes)):
		return store.FenceClear
	case answered == 0:
		return store.FenceIsolated
	}
	return store.FenceUnsure
}

// all lists the nodes in the order of the configuration.
func (f *fleet) all() []*node {
	nodes := make([]*node, 0, len(f.nodes))
	for _, configured := range f.nodes {
		nodes = append(nodes, f.byName[configured.Name])
	}
	return nodes
}
