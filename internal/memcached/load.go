package memcached

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// answer is what one node said about a session.
type answer struct {
	node *node
	item
	record *sessioncodec.Record // nil on a miss, and for a blob that does not open
	err    error                // the node did not answer
}

// Load returns the join of the copies that reach asks for; see the sidecar's Store. In the steady state, a hit on the node of the
// id, it is one get.
func (s *Store) Load(ctx context.Context, id ring.ID, reach store.Reach) (store.Found, error) {
	return s.load(ctx, load{key: ring.StorageKey(s.space, id.Random), first: id.Node, issued: id.Issued}, reach)
}

// LoadKey is Load of what has a storage key and no id: a subject's sessions, or a session known by its ref.
func (s *Store) LoadKey(ctx context.Context, key string) (store.Found, error) {
	return s.load(ctx, load{key: key}, store.Everywhere)
}

func (s *Store) load(ctx context.Context, l load, reach store.Reach) (store.Found, error) {
	l.s, l.fleet = s, s.fleet.Load()
	if own := l.fleet.byName[l.first]; own != nil && reach == store.Near && own.trusted() {
		first := s.read(own, l.key)
		if first.record != nil && l.fleet.keeps(first.record, s.copies) {
			return l.found([]answer{first}), nil
		}
		// It lacks the session, or holds it since before a node lost its memory: then a refill may have brought an older copy there.
		l.answers = append(l.answers, first)
	}
	if own := l.fleet.byName[l.first]; own != nil && own.down.Load() && !own.soft.Load() {
		own.revive() // another sidecar may have found it back, and have made the id after it
	}
	asked := s.readAll(ctx, l.fleet, l.key, l.answers)
	if err := ctx.Err(); err != nil {
		return store.Found{}, err
	}
	l.answers = append(l.answers, asked...)
	if !slices.ContainsFunc(l.answers, func(a answer) bool { return a.record != nil }) {
		return l.missed(ctx)
	}
	if silent := l.silent(); silent != nil && !slices.ContainsFunc(l.answers, answer.current) {
		if l.busy() {
			return store.Found{}, store.ErrBusy
		}
		return store.Found{}, &store.UnknownError{Node: silent.name}
	}
	found := l.found(l.answers)
	l.doubt(&found)
	return found, nil
}

// doubt tells what speaks against copies that are not the named node's: it is silent, or another sidecar's ring has it and this one has not. Then
// each node that is silent may be the one that has what it took.
func (l *load) doubt(found *store.Found) {
	named, silent := l.fleet.byName[l.first], l.silent()
	switch {
	case named != nil && slices.ContainsFunc(l.answers, func(a answer) bool { return a.node == named && a.silent() }):
		found.Silent = &store.UnknownError{Node: named.name, DownFor: named.downFor().Milliseconds()}
		found.Stray = l.stray()
	case named == nil && l.first != "" && silent != nil:
		found.Silent = &store.UnknownError{Node: silent.name, DownFor: silent.downFor().Milliseconds()}
		found.Stray = true
	case named == nil && l.first != "":
		found.Foreign = &store.UnknownError{Node: l.first, DownFor: time.Since(l.fleet.since).Milliseconds()}
	}
}

// busy tells whether a node was not even asked, because too many others ask it.
func (l *load) busy() bool {
	return slices.ContainsFunc(l.answers, func(a answer) bool { return errors.Is(a.err, store.ErrBusy) })
}

// silent is a node that may come back with a newer copy than any that was seen; one that refuses connections has no memory any more.
func (l *load) silent() *node {
	for _, a := range l.answers {
		if a.silent() {
			return a.node
		}
	}
	return nil
}

// stray tells whether no node that shall hold a copy answered with one. A node that refuses connections shall hold none: the next of the order
// stands in for it. One that came into the ring just now may lack what a sidecar wrote that does not know of it yet.
func (l *load) stray() bool {
	holders := make([]*node, 0, l.s.copies)
	for _, configured := range ring.WriteOrder(l.fleet.nodes, l.key, l.first) {
		if n := l.fleet.byName[configured.Name]; len(holders) < l.s.copies && !n.isNew() && (!n.down.Load() || n.soft.Load()) {
			holders = append(holders, n)
		}
	}
	return !slices.ContainsFunc(l.answers, func(a answer) bool { return a.record != nil && slices.Contains(holders, a.node) })
}

// silent tells whether the node did not answer, though it may still have its memory.
func (a answer) silent() bool {
	return a.err != nil && resultOf(a.err) != refused && (!a.node.down.Load() || a.node.soft.Load())
}

// current tells whether the copy stands for itself. One that was in its node's memory while that was away, and was not written since,
// may be older than what the other nodes took meanwhile. When it was written its number tells; else, after a node was acquitted, the clocks.
func (a answer) current() bool {
	n := a.node
	if a.record == nil || n.state() != Suspect {
		return a.record != nil
	}
	if a.life.generation != n.fell.Load() {
		return true // it came back empty
	}
	if tide := n.tide.Load(); tide != 0 {
		return a.cas > tide
	}
	returned := time.Unix(0, n.wary.Load()).Add(-suspectFor)
	return a.record.Accessed >= returned.UnixMilli()
}

// load is one Load under way.
type load struct {
	s       *Store
	fleet   *fleet
	key     string
	first   string // the node that the id names
	issued  uint32 // when the session began
	answers []answer
}

// found joins the answers, of which one at least has a record.
func (l *load) found(answers []answer) store.Found {
	var f store.Found
	for _, a := range answers {
		f.Record = sessioncodec.Join(f.Record, a.record)
		if a.record != nil && (f.Seen.Node == "" || a.node.name == l.first) {
			f.Seen = store.Seen{Node: a.node.name, Record: a.record, CAS: a.cas, Generation: a.life.generation}
		}
	}
	f.Short = l.short(answers, f.Record)
	return f
}

// short tells whether a node that shall hold a copy is known to lack it: it said so, or the life that a copy names as its
// neighbour's is over.
func (l *load) short(answers []answer, joined *sessioncodec.Record) bool {
	for _, a := range answers {
		if a.record != nil && !l.fleet.keeps(a.record, l.s.copies) {
			return true
		}
	}
	if len(answers) == 1 {
		return false
	}
	holders := l.fleet.holders(l.key, l.first, l.s.copies)
	return slices.ContainsFunc(answers, func(a answer) bool {
		return a.err == nil && !joined.Same(a.record) && slices.Contains(holders, a.node)
	})
}

// wrongClocks is how wrong two clocks of the fleet may be without a session being called absent that is on a node which is silent just now.
const wrongClocks = 15 * time.Minute

// missed judges answers none of which has a record. A miss is not an absence: the session is absent when every node said so, or
// when its own node did, having held its memory since before the session began.
func (l *load) missed(ctx context.Context) (store.Found, error) {
	l.confirm(ctx)
	var found store.Found
	unknown := &store.UnknownError{All: true}
	var downFor time.Duration
	silent, own := 0, false
	for _, a := range l.answers {
		if life := a.node.now.Load().mark.Load(); a.err == nil {
			unknown.All = false
			found.Lost = found.Lost || life.youngerThan(l.issued, 0)
			own = own || a.node.name == l.first && !life.youngerThan(l.issued, wrongClocks)
			continue
		}
		// Of several silent nodes the last one seen decides, but the id's own before all.
		d := a.node.downFor()
		if a.node.name == l.first {
			unknown.Node = l.first
			downFor = d
		} else if unknown.Node == "" && (silent == 0 || d < downFor) {
			downFor = d
		}
		silent++
	}
	if own || silent == 0 && len(l.answers) > 0 {
		return found, nil
	}
	if l.busy() {
		return store.Found{}, store.ErrBusy
	}
	unknown.DownFor = downFor.Milliseconds()
	return store.Found{}, unknown
}

// confirm reads the canaries of the nodes that missed: a flush_all leaves connections as they are, and the poll may not have
// noticed it yet.
func (l *load) confirm(ctx context.Context) {
	var nodes []*node
	for _, a := range l.answers {
		if a.err == nil {
			nodes = append(nodes, a.node)
		}
	}
	kept := inParallel(ctx, l.s, nodes, nil, func(n *node) bool { return n.look(opGet, nil) == nil })
	for i := range l.answers {
		if j := slices.Index(nodes, l.answers[i].node); j >= 0 && !kept[j] {
			l.answers[i].err = context.DeadlineExceeded
		}
	}
}

// read asks one node for a copy.
func (s *Store) read(n *node, key string) answer {
	a := answer{node: n}
	if a.item, a.err = n.get(key); a.hit {
		a.record = s.open(n, key, a.value)
	}
	return a
}

// readAll asks every node that is not among the known answers, all at once.
func (s *Store) readAll(ctx context.Context, f *fleet, key string, known []answer) []answer {
	var nodes []*node
	for _, n := range f.members {
		if !slices.ContainsFunc(known, func(a answer) bool { return a.node == n }) {
			nodes = append(nodes, n)
		}
	}
	answers := inParallel(ctx, s, nodes, answer.came, func(n *node) answer { return s.read(n, key) })
	for i, n := range nodes {
		if answers[i].node == nil {
			answers[i] = answer{node: n, err: context.DeadlineExceeded}
		}
	}
	return answers
}

// open unseals a blob. One that does not open is no copy, never an error page; a later write may replace it.
func (s *Store) open(n *node, key string, sealed []byte) *sessioncodec.Record {
	known := s.opened.Load()
	if r := known.record(key, sealed); r != nil {
		return r
	}
	r, err := s.codec.Load().Open(key, sealed)
	if err != nil {
		s.metrics.BlobsRejected.WithLabelValues(sessioncodec.Class(err)).Inc()
		s.log.Error("stored session does not open; it counts as missing", "node", n.name, "ref", refOf(key), "error", err)
		return nil
	}
	known.keep(key, blob{sealed, r})
	return r
}

// came tells whether the node answered.
func (a answer) came() bool { return a.node != nil && a.err == nil }

// inParallel asks all nodes at once and returns their answers in the same order. An answer that has not come when the operation
// timeout or ctx is over stays zero; its question runs on, so that the node's health hears of it. With needed, one answer that is, is
// waited for longer: until it came or all nodes failed.
func inParallel[T any](ctx context.Context, s *Store, nodes []*node, needed func(T) bool, ask func(*node) T) []T {
	answers := make([]T, len(nodes))
	if len(nodes) == 1 {
		answers[0] = ask(nodes[0])
		return answers
	}
	type indexed struct {
		i     int
		value T
	}
	arrived := make(chan indexed, len(nodes))
	for i, n := range nodes {
		s.tasks.Go(func() { arrived <- indexed{i, ask(n)} })
	}
	timer := time.NewTimer(s.opTimeout)
	defer timer.Stop()
	late := false
	for range nodes {
		for waiting := true; waiting; {
			select {
			case a := <-arrived:
				answers[a.i] = a.value
				waiting = false
			case <-timer.C:
				late = true
			case <-ctx.Done():
				return answers
			}
			if late && (needed == nil || slices.ContainsFunc(answers, needed)) {
				return answers
			}
		}
	}
	return answers
}

// refOf is the public name of the session whose storage key this is.
func refOf(key string) string { return key[strings.LastIndexByte(key, ':')+1:] }
