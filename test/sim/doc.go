// Package sim is a deterministic simulation of the real code. The session engine (sidecar), the ring store (internal/memcached) and
// gomemcache run as they are, over embedded memcacheds and a network of net.Pipes, in one bubble of testing/synctest: time is fake, so that
// half a minute of visitors and faults takes some twenty milliseconds. One seed is one history:
//
//	go test ./test/sim -sim.seeds=10000              many of them, each failure with its seed
//	go test ./test/sim -sim.seed=553 -sim.log        one, told line by line
//	go test ./test/sim -sim.seed=553 -sim.shrink     one, with all steps and faults left out that it fails without
//
// # The world
//
// One to three sidecars share two or three nodes. One to three visitors, each with a cookie jar or with two that began as one, make 8 to 14 requests each,
// up to three at once, most of them near a fault. The app adds, overwrites, merges, deletes, counts under a lock, replaces the whole session, renews
// its id, destroys it, and binds it to its visitor, all of whose sessions an operator ends; each change says which step made it, so that each later
// request tells what its session has seen. Faults are those of scenario.go: nodes are killed, frozen, flushed and lose single keys, leave the ring and
// come back, at one sidecar later than at another; links are slow and lose answers after the deed; sidecars are killed, drained and cut off from each
// other; keys are rotated. Two nodes may pause one after the other. Clocks are wrong by up to 700 ms against each other, and a sidecar's stamps may
// be seven minutes ahead. A sticky session has two copies, or one.
//
// Seeds above ten million follow a plot each (plot.go): a history with a subject, which faults and steps that are drawn one by one hit too seldom. Which plot a seed has changes
// when one is added. A
// run of many seeds takes a quarter as many plots, from Plots + -sim.first on. Other seeds stay the histories they are.
//
// A scenario is drawn from its seed before it starts. How long a message travels follows from the seed, the moment and the message itself,
// so that leaving out a step leaves the others as they were. What is sent arrives even if its sender has given up or died.
//
// # What must hold
//
// Within the promise every invariant of judge.go: no acknowledged change is lost, neither is a session; a sequential visitor never sees its
// own write go back; what was destroyed stays so; an id from before a renewal reads for its grace time and never writes; an overwritten
// value does not return; what was idle too long, or whose subject was logged out, is gone; a locked counter counts each acknowledged addition once; and every request ends in time. The promise covers one
// fault of the ring at a time, healed before the next, together with the loss of sidecars and of their connections to each other. It does
// not cover what docs/failure-modes.md calls lost: the home killed while a node loses its memory, or both nodes lost between two visits.
//
// Outside the promise (a quarter of the seeds: up to six faults that overlap as they like) the weak invariants hold: a destroyed session
// does not return, nobody sees a stranger's session, nothing hangs, panics or stays behind.
//
// A 503 breaks no invariant. The tests print how many there were.
//
// # What is not modelled
//
// HTTP, its framing and its connections (internal/h1 has tests of its own; exchange.go forwards as it does), expiry by TTL in
// memcached, a node that comes back into the ring's configuration with its memory (docs/operations.md forbids it), ring.unknown and ring.isolated
// other than their defaults, processes that stand still and go on, and a home that is killed while its session's nodes pause in turn. Forgotten
// deletions only where every node holds the session. Birth times of canaries and the seconds in an id come from the one true clock, but where a clock
// is wrong by minutes.
package sim
