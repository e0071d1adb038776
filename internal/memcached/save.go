package memcached

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// maxRounds bounds how often copies that turned out different are written again. Each round spreads all that was seen, so a second
// one is needed only when somebody else wrote meanwhile.
const maxRounds = 3

// Save joins a record into the nodes of id; see store.Write. It goes on in the background after Save returned, until every copy
// was tried.
func (s *Store) Save(ctx context.Context, id ring.ID, w store.Write) (store.Saved, error) {
	return s.SaveKey(ctx, ring.StorageKey(s.space, id.Random), id.Node, w)
}

// SaveKey is Save for an operator who knows a session's storage key and no id.
func (s *Store) SaveKey(ctx context.Context, key, first string, w store.Write) (store.Saved, error) {
	f := s.fleet.Load()
	sv := &save{
		Write: w, s: s, fleet: f, key: key,
		order: f.inOrder(ring.WriteOrder(f.nodes, key, first)), changed: make(chan struct{}, 1), begun: time.Now(),
	}
	switch {
	case w.End:
		sv.away = f.fallen()
	case w.Insist:
		sv.away = f.away(key, first, w.Copies)
	}
	sv.until, _ = ctx.Deadline()
	for _, n := range sv.order {
		sv.lives = append(sv.lives, n.now.Load())
	}
	s.tasks.Go(sv.run)
	return sv.wait(ctx)
}

// save is one Save under way.
type save struct {
	store.Write
	s       *Store
	fleet   *fleet
	key     string
	order   []*node // those that were up at the begin, in writing order
	away    []*node // those that are down, and are asked once more
	lives   []*life // theirs at the begin: a birth is a miss in these, and in no later one
	changed chan struct{}
	begun   time.Time
	until   time.Time // how long the caller waits for a first acknowledgement; zero: it has all the time

	mu       sync.Mutex           // guards what follows
	known    *sessioncodec.Record // join of everything seen, and of what the nodes shall hold for it
	spread   *sessioncodec.Record // what was known when spreading it began
	answered bool                 // the caller was told the outcome; what goes on brings just that to the nodes that are left
	acks     []ack                // one for each node that acknowledged
	slow     bool                 // a node that was to take a copy did not answer in time
	offered  bool                 // a node may have been sent one, which may still land
	settled  bool                 // the first node of the order acknowledged or failed
	fatal    error                // ends the write at every node
	finished bool
	opened   blob // the one read last
	sealed   blob // the one made last; apart, for one node may be written before the other is read
}

// ack is a node that acknowledged, with what it holds since then.
type ack struct {
	node   *node
	record *sessioncodec.Record
}

// run writes the copies, then what turned out to differ again, and tells the end.
func (sv *save) run() {
	sv.meet()
	if sv.Copies == 0 {
		sv.writeAll()
	} else {
		sv.writeCopies()
		for sv.again() {
			sv.writeCopies()
		}
	}
	for round := 0; round < maxRounds && sv.stopped() == nil; round++ {
		behind := sv.behind()
		if len(behind) == 0 {
			break
		}
		sv.each(behind, func(n *node) { sv.write(n, true) })
	}
	if sv.End {
		sv.note()
	}
	sv.mu.Lock()
	sv.finished = true
	saved, err := sv.result()
	sv.mu.Unlock()
	sv.notify()
	if sv.Done != nil {
		sv.Done(saved, err)
	}
}

// meet makes the first contact with the nodes that shall hold the copies, so that these can name their lives.
func (sv *save) meet() {
	var strangers []*node
	for _, n := range sv.order[:min(len(sv.order), sv.s.copies)] {
		if n.now.Load().mark.Load() == nil {
			strangers = append(strangers, n)
		}
	}
	sv.each(strangers, func(n *node) { _ = n.look(opGet, nil) })
}

// writeAll writes every node, one after the other in the order of names: the same for every writer, so that two takers of one
// session meet at the first node and not crosswise.
func (sv *save) writeAll() {
	byName := slices.SortedFunc(slices.Values(slices.Concat(sv.order, sv.away)), func(a, b *node) int { return strings.Compare(a.name, b.name) })
	if sv.Anchor != "" {
		anchor := sv.fleet.byName[sv.Anchor]
		if !slices.Contains(sv.order, anchor) || !sv.write(anchor, false) {
			_ = sv.abort(store.ErrUnacknowledged)
			return
		}
	}
	for _, n := range byName {
		if sv.stopped() != nil {
			return
		}
		if !slices.Contains(sv.away, n) || n.revive() {
			sv.write(n, false)
		}
	}
}

// writeCopies writes the first nodes of the order at once; one that fails is replaced by the next. A silent one that turns out to be back takes
// a copy, too.
func (sv *save) writeCopies() {
	var next atomic.Int32
	lanes := min(sv.Copies, len(sv.order))
	next.Store(int32(lanes))
	sv.each(slices.Concat(sv.order[:lanes], sv.away), func(n *node) {
		if slices.Contains(sv.away, n) {
			if n.revive() {
				sv.write(n, false)
			}
			return
		}
		for !sv.write(n, false) && sv.stopped() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(sv.order) {
				return
			}
			n = sv.order[i]
		}
	})
}

// again tells whether to offer the copies once more: no node took one, one that is up was too slow for it, and the caller still waits.
func (sv *save) again() bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return len(sv.acks) == 0 && sv.fatal == nil && sv.slow && time.Now().Before(sv.until) &&
		slices.ContainsFunc(sv.order, func(n *node) bool { return !n.down.Load() })
}

// probe asks the nodes for their canaries when none has taken a copy in time: the answers tell a slow ring from an isolated sidecar.
func (sv *save) probe() {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if len(sv.acks) > 0 || sv.finished {
		return
	}
	for _, n := range sv.order {
		if !n.down.Load() {
			sv.s.tasks.Go(func() { _ = n.look(opGet, nil) })
		}
	}
}

// isolated tells whether no node has answered since the write began; asked when none took it.
func (sv *save) isolated() bool {
	return !slices.ContainsFunc(sv.fleet.members, func(n *node) bool { return n.seen.Load() > sv.begun.UnixNano() })
}

// each works on nodes at once, one of them in this goroutine.
func (sv *save) each(nodes []*node, work func(*node)) {
	if len(nodes) == 0 {
		return
	}
	var others sync.WaitGroup
	for _, n := range nodes[1:] {
		others.Add(1)
		sv.s.tasks.Go(func() {
			defer others.Done()
			work(n)
		})
	}
	work(nodes[0])
	others.Wait()
}

// behind are the nodes that hold less than what is known by now.
func (sv *save) behind() (nodes []*node) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for _, a := range sv.acks {
		if !a.record.Same(sv.known) {
			nodes = append(nodes, a.node)
		}
	}
	return nodes
}

// wait returns what the caller waits for.
func (sv *save) wait(ctx context.Context) (store.Saved, error) {
	timer := time.NewTimer(sv.s.opTimeout)
	defer timer.Stop()
	for late := false; ; {
		if sv.ready(late) {
			return sv.end()
		}
		if late {
			sv.catchUp()
		}
		select {
		case <-sv.changed:
		case <-timer.C:
			late = true
			sv.probe()
		case <-ctx.Done():
			saved, err := sv.end()
			if err != nil {
				err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
			}
			return saved, err
		}
	}
}

// ready tells whether Save may return; late, that the operation timeout is over, so that the acknowledgement of any node will do that holds all
// that is known. One that does not may lack what another node was about to be given: a merge with a value that only that one had.
func (sv *save) ready(late bool) bool {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.finished || sv.fatal != nil {
		return true
	}
	return !sv.End && (late || sv.Wait == store.First && sv.settled) && slices.ContainsFunc(sv.acks, sv.whole)
}

// catchUp gives the nodes that have acknowledged what they still lack, while another one is too slow: once for all that is known.
func (sv *save) catchUp() {
	behind := sv.behind()
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if len(behind) == 0 || sv.spread == sv.known || sv.finished || sv.fatal != nil {
		return
	}
	sv.spread = sv.known
	sv.s.tasks.Go(func() { sv.each(behind, func(n *node) { sv.write(n, true) }) })
}

// whole tells whether a node holds all that is known; sv.mu is held. The end of a session is all that there is to know of it.
func (sv *save) whole(a ack) bool {
	return a.record.State == sessioncodec.Destroyed || a.record.Same(sv.known)
}

// end is the outcome for the caller. Nothing is written any more that is not part of it.
func (sv *save) end() (store.Saved, error) {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	saved, err := sv.result()
	sv.answered = true
	if sv.fatal == nil {
		sv.fatal = err
	}
	return saved, err
}

// result is the outcome so far; sv.mu is held.
func (sv *save) result() (store.Saved, error) {
	wanted := len(sv.fleet.nodes)
	if sv.Copies > 0 {
		wanted = min(sv.Copies, wanted)
	}
	first, acks := sv.taken()
	saved := store.Saved{
		Node: first, Acks: acks, Record: sv.known, Short: acks < wanted, Failed: acks < min(wanted, len(sv.order)),
		Unnoticed: slices.ContainsFunc(sv.lacking(), (*node).unnoticed),
	}
	switch {
	case sv.fatal != nil:
		return saved, sv.fatal
	case acks > 0:
		return saved, nil
	case sv.isolated():
		return saved, store.ErrIsolated
	case (sv.Birth || !sv.offered) && slices.ContainsFunc(sv.order, (*node).crowded): // of a birth that lands later nobody has the id
		sv.fatal = store.ErrBusy
		return saved, sv.fatal
	}
	return saved, store.ErrUnacknowledged
}

// taken counts the nodes that hold all that is known, and names the one for the id: its own, or else the first of the order.
func (sv *save) taken() (first string, nodes int) {
	at := len(sv.order)
	for _, a := range sv.acks {
		if !sv.whole(a) {
			continue
		}
		nodes++
		i := slices.Index(sv.order, a.node)
		if i < 0 { // it was down
			i = len(sv.order)
		}
		if i < at || first == "" {
			at, first = i, a.node.name
		}
	}
	return first, nodes
}

// stopped is what ended the write at every node, nil while it goes on.
func (sv *save) stopped() error {
	sv.mu.Lock()
	defer sv.mu.Unlock()
	return sv.fatal
}

func (sv *save) notify() {
	select {
	case sv.changed <- struct{}{}:
	default:
	}
}
