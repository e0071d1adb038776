package memcached

import (
	"context"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// fleet is one configuration of the ring.
type fleet struct {
	nodes   []ring.Node
	members []*node // of nodes, in the same order
	byName  map[string]*node
	since   time.Time
	stops   map[string]context.CancelFunc // of the watchers; the store's mu guards it
}

// inOrder turns an order of the ring into nodes, without those that are down.
func (f *fleet) inOrder(order []ring.Node) []*node {
	nodes := make([]*node, 0, len(order))
	for _, configured := range order {
		if n := f.byName[configured.Name]; !n.down.Load() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// holders are the nodes that shall hold the copies of key: the first of the order that are up.
func (f *fleet) holders(key, first string, copies int) []*node {
	nodes := f.inOrder(ring.WriteOrder(f.nodes, key, first))
	return nodes[:min(copies, len(nodes))]
}

// away are those of the first nodes of the order that are down: they may be back, and nobody here has heard of it.
func (f *fleet) away(key, first string, copies int) (nodes []*node) {
	order := ring.WriteOrder(f.nodes, key, first)
	for _, configured := range order[:min(copies, len(order))] {
		if n := f.byName[configured.Name]; n.down.Load() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// fallen are the nodes that went down so lately that other sidecars may use them; or they answer again, and nobody here has heard of it.
func (f *fleet) fallen() (nodes []*node) {
	for _, n := range f.members {
		if n.down.Load() && n.unnoticed() {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// keeps tells whether the lives that r names as its copies' go on, on as many nodes as are up and shall hold it. It is the whole check
// of a load that reads one copy, and asks no node.
func (f *fleet) keeps(r *sessioncodec.Record, copies int) bool {
	up, kept := 0, 0
	for _, n := range f.members {
		if n.down.Load() {
			continue
		}
		up++
		life := n.now.Load().mark.Load().short()
		if life == 0 {
			return true // not met yet: nothing is known of it
		}
		if life == r.Life1 || life == r.Life2 {
			kept++
		}
	}
	return kept >= min(copies, up)
}

// lives are those of the nodes that hold the first and the second copy, as a blob's header names them; 0 is unknown or none.
type lives [2]uint32

func livesOf(holders []*node) (l lives) {
	for i := range min(len(holders), len(l)) {
		l[i] = holders[i].now.Load().mark.Load().short()
	}
	return l
}

// in tells whether r names these lives, as far as they are known.
func (l lives) in(r *sessioncodec.Record) bool {
	return (l[0] == 0 || l[0] == r.Life1) && (l[1] == 0 || l[1] == r.Life2)
}
