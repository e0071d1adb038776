// Package sidecar is the session engine of the data path. It finds the visitor's session, hands it to the app in request headers,
// takes the app's changes from response headers, and keeps them in the ring before the answer leaves. It drives no connection (an HTTP
// engine calls it through head.Handler) and knows no memcached (it asks a Store).
//
// # A request
//
//	(*Handler).Request   strip what clients may not send, read the cookie           headers.go, cookie.go
//	(*Handler).locate    wait for the lock, then find the session                   handler.go, lock.go
//	keeper.find          from memory (sticky.go), by takeover (takeover.go), or from the ring (shared.go)
//	(*Handler).inject    Pillion-Session and Pillion-Meta                            headers.go
//	-- the app --
//	(*Handler).Response  collect and read the instructions                          headers.go, instructions.go
//	(*Handler).apply     destroy (destroy.go), renew (renew.go), or an edit         apply.go
//	(*Handler).commit    together with what else waits for this session             group.go
//	edit.on, edit.join   the intent on the newest record, then on what nodes hold   edit.go
//	(*Handler).answer    Set-Cookie, Cache-Control, Vary                             answer.go
//
// # The two modes
//
// Sticky: the sidecar named in the id, its home, serves the session from memory; the ring is the backup. A sidecar that gets a session it
// does not own takes it over from the ring. Shared: the ring is the truth, each request reads it. In both, a write is a join: copies are
// merged by the stamps of their attributes, never chosen between, so a late or doubled write does no harm.
//
// # What a failure becomes
//
// The client sees the app's answer, or an answer of Pillion's with Proxy-Status: never an answer that promises what the ring does not have
// (unless commit is async, or ring.isolated is serve while no node answers). An unknown, expired or forged id is no session; it never
// becomes one. UNKNOWN (a node that may hold the session is silent) is a 503 that leaves the cookie alone.
package sidecar
