// Package store holds the words that the session engine and the ring use with each other. The engine (sidecar) decides what a
// session is; the ring (internal/memcached) decides where its copies lie. Neither imports the other; both import this leaf.
package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// What a store answers when it cannot give or keep a record. Absence is a value, never one of these.
var (
	// ErrUnknown: not every node that may hold the session answered, and none that did holds it.
	ErrUnknown = errors.New("store: the ring could not answer")
	// ErrGone: a write of a session that is not being born met no copy of it on any node.
	ErrGone = errors.New("store: no node holds the session any more")
	// ErrUnacknowledged: no node acknowledged the write in time. It may still land.
	ErrUnacknowledged = errors.New("store: no node acknowledged the write")
	// ErrBusy: this process asks the nodes for more at once than it may; they are not to blame. Nothing was written.
	ErrBusy = errors.New("store: too many operations under way")
	// ErrIsolated: as ErrUnacknowledged, and no node answered anything meanwhile.
	ErrIsolated = fmt.Errorf("%w, and none answers", ErrUnacknowledged)
	// ErrLocked: the lock was not free within the wait.
	ErrLocked = errors.New("store: the session is locked")
)

// UnknownError says why a load is UNKNOWN; errors.Is(err, ErrUnknown).
type UnknownError struct {
	Node    string // the node of the id that did not answer, "" when it was another
	DownFor int64  // milliseconds since that node was last seen up
	All     bool   // no node answered at all
}

func (e *UnknownError) Error() string {
	if e.All {
		return "store: no node of the ring answers"
	}
	return "store: node " + e.Node + " does not answer"
}

// Unwrap makes errors.Is(err, ErrUnknown) true.
func (e *UnknownError) Unwrap() error { return ErrUnknown }

// Reach says how many nodes a load asks.
type Reach uint8

const (
	// Near asks the id's node alone, and the others only when that one misses, does not answer or is suspect, or when its copy names a
	// node's life that is over.
	Near Reach = iota
	// Everywhere asks all nodes: before a takeover, at a touch.
	Everywhere
)

// Found is the answer of a load.
type Found struct {
	// Record is the join of every copy seen, nil when the session is absent. It may be destroyed or expired.
	Record *sessioncodec.Record
	// Lost is set when the session is absent and a node that answered is younger than the id: it forgot.
	Lost bool
	// Short is set when a copy is missing, behind, or on a node that has a new life: a touch repairs it.
	Short bool
	// Silent is set when the id's own node did not answer, though it may come back with what it held: what a load fails with that needs
	// just that copy.
	Silent *UnknownError
	// Foreign is set when the id names a node that is not in this ring, and every node of it answered: DownFor is how long the ring is as it is.
	Foreign *UnknownError
	// Stray is set when no node that shall hold a copy answered with one: what was found lies where an earlier write left it,
	// or on a node that came into the ring just now.
	Stray bool
	// Seen lets the write that follows skip its first read of that node.
	Seen Seen
}

// Seen is one node's own answer to a load, valid while the node keeps its life.
type Seen struct {
	Node       string
	Record     *sessioncodec.Record // what that node itself held
	CAS        uint64
	Generation uint64 // of the node's life under which CAS was read
}

// Noticed is how long each sidecar takes to find out that a node is silent, or what the other nodes tell of it.
const Noticed = time.Second

// Wait says when a save returns.
type Wait uint8

const (
	// First returns at the acknowledgement of the id's node, or of another one when that fails or the operation timeout is over.
	First Wait = iota
	// Both returns when every copy answered or the operation timeout is over, with one acknowledgement at least.
	Both
)

// Write asks for a record to be joined into the ring.
type Write struct {
	// Join is given what a node holds, nil on a miss, and returns what it shall hold: a join of that and the caller's record. It is
	// given the join of all nodes seen so far as well, when the node shall hold more of that.
	// Equal to what is stored means nothing needs writing. It is called again after each conflict, from several goroutines, and
	// possibly after Save returned. An error ends the write at every node.
	Join func(stored *sessioncodec.Record) (*sessioncodec.Record, error)
	// Forget, when not nil, drops from a record what no copy needs to hold any more. Join brings that back from the copies; what is stored and
	// returned is without it. It gives the same for the same record.
	Forget func(*sessioncodec.Record) *sessioncodec.Record
	// Anchor, when not "", names the node that must take the record, over a copy it holds, before any other node is written. With Copies 0.
	Anchor string
	// Copies is how many nodes shall hold the record; 0 means every node that answers, in the fixed order of the ring.
	Copies int
	// Wait says when Save returns.
	Wait Wait
	// Birth: nobody has the session yet, so a miss needs no look at the other nodes.
	Birth bool
	// Refill: the caller's memory is the truth, so a session that is missed everywhere is added again. Without it, and without
	// Birth, that is ErrGone.
	Refill bool
	// Insist: a node that shall hold a copy, and that is down, is asked once more. It may be back by now, with what a writer that sees it up has
	// given it.
	Insist bool
	// End: what is written ends the session for those who have its id. A node that does not take it may be asked alone, for that session, by a sidecar
	// that does not know: so it is asked even if it fell just now, and a note on the other nodes tells of it. Save returns after that. With Copies 0.
	End bool
	// Seen is the load's own answer, used for the first try at its node.
	Seen Seen
	// Done, when not nil, is called once after every copy was tried, with the final result.
	Done func(Saved, error)
}

// Saved is the result of a save.
type Saved struct {
	// Node is the node that the id shall name from now on: the id's own when it acknowledged.
	Node string
	// Acks counts the nodes that acknowledged so far.
	Acks int
	// Short is set when a node that should hold the record has not acknowledged it (yet).
	Short bool
	// Failed is set when a node that was up did not take its copy (yet): it may hold an older one.
	Failed bool
	// Unnoticed is set when a node did not take an end, and other sidecars may not know yet that it is silent or that there is a note about it.
	Unnoticed bool
	// Record is the join of everything seen and written.
	Record *sessioncodec.Record
}

// Fence is what a look for a fence key found.
type Fence uint8

const (
	// FenceUnsure: too few nodes answered to rule the key out.
	FenceUnsure Fence = iota
	// FenceClear: enough nodes said that it is absent.
	FenceClear
	// FenceSet: a node has it.
	FenceSet
	// FenceIsolated: no node answers.
	FenceIsolated
)
