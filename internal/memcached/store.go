// Package memcached is the ring as a store: it keeps each session's copies on memcached nodes, and joins them.
//
//   - Both copies of a session have one key and lie on two nodes; a node is named, its address is only where it is.
//   - A copy is written by one primitive: read, join, cas over a hit or add after a miss, and again on a conflict. It never sets, so a
//     write that timed out and comes late finds a conflict, not a newer copy to overwrite.
//   - A miss is not an absence: a session is absent when every node that may have it said so.
//   - A node's memory has lives, told apart by a canary key. A CAS token serves only in the life, and on the connections, it was read in.
//   - A node that refuses is down at once, one that is silent after three tries; probes bring it back.
//
// It knows records and ids; owners, cookies and policies are the session engine's.
package memcached

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Options of a store. Nodes, Space and Codec are required.
type Options struct {
	Nodes []ring.Node
	Space string
	Codec *sessioncodec.Codec

	Copies     int           // how many nodes shall hold a session, for Found.Short; 2 when 0
	OpTimeout  time.Duration // of one operation; 100 ms when 0
	Opened     int64         // bytes of memory for records that were opened lately, by which an unchanged copy is known; 0: none
	TouchSlack time.Duration // touch interval and grace: how long an item outlives its session's idle time

	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // net.Dialer when nil
	Auth   func() (user, password string)                                       // memcached -Y; asked at each dial, none when nil
	TLS    *tls.Config                                                          // for tls: addresses
	Random io.Reader                                                            // crypto/rand when nil

	Metrics *metrics.Metrics // own ones when nil
	Log     *slog.Logger     // silent when nil
	// NewLife, when not nil, is told that a node lost its memory, came back, or left the ring. It must not block.
	NewLife func(node string)
}

// Store is a ring of nodes. It is safe for concurrent use.
type Store struct {
	space      string
	codec      atomic.Pointer[sessioncodec.Codec]
	opened     atomic.Pointer[opened]
	openedSize int64
	copies     int
	opTimeout  time.Duration
	touchSlack time.Duration
	dial       func(ctx context.Context, network, address string) (net.Conn, error)
	auth       func() (user, password string)
	tls        *tls.Config
	metrics    *metrics.Metrics
	log        *slog.Logger
	newLife    func(node string)

	randomMu sync.Mutex
	random   io.Reader

	falling     sync.Mutex // one node falls at a time
	fleet       atomic.Pointer[fleet]
	generations atomic.Uint64
	calls       calls

	mu      sync.Mutex // guards watching and changes of the fleet
	watched context.Context
	stop    context.CancelFunc
	tasks   *crew // watchers, and work that outlives its caller
}

// New makes a store. It opens no connection: a node counts as up until it proves otherwise.
func New(o Options) (*Store, error) {
	if o.Codec == nil || !ring.ValidSpace(o.Space) {
		return nil, errors.New("memcached: a store needs a codec and a space")
	}
	s := &Store{
		space: o.Space, openedSize: o.Opened, copies: o.Copies, opTimeout: o.OpTimeout, touchSlack: o.TouchSlack, dial: o.Dial,
		tasks: newCrew(), auth: o.Auth, tls: o.TLS, random: o.Random, metrics: o.Metrics, log: o.Log, newLife: o.NewLife,
	}
	if s.copies == 0 {
		s.copies = 2
	}
	if s.opTimeout == 0 {
		s.opTimeout = 100 * time.Millisecond
	}
	if s.dial == nil {
		s.dial = new(net.Dialer).DialContext
	}
	if s.random == nil {
		s.random = rand.Reader
	}
	if s.metrics == nil {
		s.metrics = metrics.New(prometheus.NewRegistry())
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.SetCodec(o.Codec)
	s.fleet.Store(&fleet{})
	return s, s.SetNodes(o.Nodes)
}

// SetCodec makes codec seal and open blobs from now on, after a change of keys. What a key opened that is gone must not be known any more.
func (s *Store) SetCodec(codec *sessioncodec.Codec) {
	s.codec.Store(codec)
	known := newOpened(s.openedSize)
	s.opened.Store(&known)
}

// SetNodes makes nodes the ring from now on. A node whose name and address stay keeps its connections and its health. One that comes in while the
// store runs may have been in the ring before, and hold what it had then: it is suspect at first, as one that was down.
func (s *Store) SetNodes(nodes []ring.Node) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.fleet.Load()
	next := &fleet{nodes: slices.Clone(nodes), byName: map[string]*node{}, since: time.Now(), stops: map[string]context.CancelFunc{}}
	for _, n := range nodes {
		if !ring.ValidNode(n.Name) || n.Address == "" || next.byName[n.Name] != nil {
			return errors.New("memcached: a node without a valid name of its own and an address: " + n.Name)
		}
		kept := old.byName[n.Name]
		if kept == nil || kept.address != n.Address {
			kept = newNode(s, n.Name, n.Address)
			if len(old.nodes) > 0 {
				kept.join()
			}
		}
		next.byName[n.Name] = kept
		next.members = append(next.members, kept)
	}
	s.fleet.Store(next)
	for name, n := range old.byName {
		if next.byName[name] == n {
			next.stops[name] = old.stops[name]
			continue
		}
		n.close()
		if stop := old.stops[name]; stop != nil {
			stop()
		}
		if next.byName[name] == nil {
			s.metrics.NodeUp.DeleteLabelValues(name)
		}
		if s.newLife != nil {
			s.newLife(name) // what lay there lies nowhere now
		}
	}
	s.watchAll(next)
	return nil
}

// Start watches the nodes until Close: without it no flush is noticed early and no node that is down comes back.
func (s *Store) Start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watched, s.stop = context.WithCancel(ctx)
	s.watchAll(s.fleet.Load())
}

// watchAll starts the watchers that f lacks; s.mu is held.
func (s *Store) watchAll(f *fleet) {
	if s.watched == nil {
		return
	}
	for name, n := range f.byName {
		if f.stops[name] != nil {
			continue
		}
		ctx, stop := context.WithCancel(s.watched)
		f.stops[name] = stop
		s.tasks.Go(func() { n.watch(ctx) })
	}
}

// Close ends the watchers, waits for writes under way and closes the connections. Nothing may be asked of the store after it.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop != nil {
		s.stop()
	}
	s.tasks.end()
	for _, n := range s.fleet.Load().members {
		n.close()
	}
}

// Place names the node for a new session, "" while none is up.
func (s *Store) Place() string {
	f := s.fleet.Load()
	up := func(name string) bool { return !f.byName[name].down.Load() }
	return ring.Pick(f.nodes, up, s.number())
}

// Reachable tells whether any node has answered since the store was made.
func (s *Store) Reachable() bool {
	for _, n := range s.fleet.Load().members {
		if n.now.Load().mark.Load() != nil {
			return true
		}
	}
	return false
}

// draw fills b at random.
func (s *Store) draw(b []byte) error {
	s.randomMu.Lock()
	defer s.randomMu.Unlock()
	_, err := io.ReadFull(s.random, b)
	return err
}

// number draws a number; where the source fails it is 0, which only makes placement and pauses uneven.
func (s *Store) number() uint64 {
	var b [8]byte
	_ = s.draw(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// jitter spreads d by a half to both sides.
func (s *Store) jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(s.number()%uint64(d))
}
