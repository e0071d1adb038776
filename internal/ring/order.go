package ring

import (
	"cmp"
	"slices"
)

// Order is the rendezvous order of nodes for a key (highest random weight): the same for every sidecar, whatever the order of its
// list and the health of the nodes. A node that is added or removed moves only the keys it gains or had.
func Order(nodes []Node, storageKey string) []Node {
	order := slices.Clone(nodes)
	slices.SortFunc(order, func(a, b Node) int {
		return cmp.Or(cmp.Compare(weight(b.Name, storageKey), weight(a.Name, storageKey)), cmp.Compare(a.Name, b.Name))
	})
	return order
}

// WriteOrder is the order in which the nodes are offered a session whose id names first: first itself, then the other foreign
// nodes by rendezvous, those on the same machine as the first copy last; after them the local ones likewise. So a session on a
// local node goes back to a foreign one at its next write.
func WriteOrder(nodes []Node, storageKey, first string) []Node {
	order := Order(nodes, storageKey)
	lead := slices.IndexFunc(order, func(n Node) bool { return n.Name == first && !n.Local })
	if lead < 0 {
		lead = slices.IndexFunc(order, func(n Node) bool { return !n.Local })
	}
	var top Node
	if lead >= 0 {
		top = order[lead]
	}
	class := func(n Node) int {
		switch {
		case n.Local && n.Name == first:
			return 3
		case n.Local:
			return 4
		case n.Name == top.Name:
			return 0
		case n.Host != "" && n.Host == top.Host:
			return 2
		}
		return 1
	}
	slices.SortStableFunc(order, func(a, b Node) int { return class(a) - class(b) })
	return order
}

// ReadOrder is the order in which the nodes are asked: the one that the id names, local or not, then as they are written.
func ReadOrder(nodes []Node, storageKey, first string) []Node {
	order := WriteOrder(nodes, storageKey, first)
	if i := slices.IndexFunc(order, func(n Node) bool { return n.Name == first }); i > 0 {
		named := order[i]
		copy(order[1:], order[:i])
		order[0] = named
	}
	return order
}

// Pick names the node for a new session, uniformly by the random number: one of the foreign nodes that are up, else one of the
// local ones, else "".
func Pick(nodes []Node, up func(name string) bool, random uint64) string {
	for _, local := range []bool{false, true} {
		names := make([]string, 0, 8)
		for _, n := range nodes {
			if n.Local == local && up(n.Name) {
				names = append(names, n.Name)
			}
		}
		if len(names) > 0 {
			return names[random%uint64(len(names))]
		}
	}
	return ""
}

// weight hashes a node's name and a key: 64-bit FNV-1a over name 00 key, and MurmurHash3's finalizer, without which names that
// differ in one digit would get related weights. It is a part of the format: sidecars of two versions share a ring.
func weight(name, key string) uint64 {
	h := fnv(fnv(14695981039346656037, name)*1099511628211, key)
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func fnv(h uint64, s string) uint64 {
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
