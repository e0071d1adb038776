package server

import (
	"cmp"
	"crypto/tls"
	"maps"
	"net"
	"slices"
	"time"
)

// Stream is one client's stream as others may see it.
type Stream struct {
	ID     string // unique in this process
	Number uint64 // counts up: the greater is the newer
	Group  string // "" until its first request
	Node   string // the node's id
	Delta  bool
	Since  time.Time
	Remote net.Addr
	TLS    *tls.ConnectionState // nil for a plain stream

	typeURL string // of a delta stream of one type
}

// Answer is what a client said to something that it was sent.
type Answer struct {
	TypeURL string
	Version string
	Took    time.Duration // since it was sent
	Error   string        // "" for an ACK
	First   bool          // of a NACK: this stream did not reject this version before
}

// TypeStatus is what one stream has of one type.
type TypeStatus struct {
	Sent, Acked string // versions
	NACKs       int
	Error       string // the last rejection, "" once something newer was accepted
}

// Status is a stream and what it has of each type.
type Status struct {
	Stream
	Types map[string]TypeStatus
}

// stream is the account of a Stream; the server's mu guards it.
type stream struct {
	Stream
	types  map[string]*account
	ending *ending // nil without Intercept
}

// account is what a stream was sent of one type, and what it accepted.
type account struct {
	TypeStatus
	sent, acked map[string]string  // resource name -> version
	open        map[string]*answer // by nonce: sent and not yet answered
	rejected    string             // the version that was rejected last
}

// answer is one response on its way.
type answer struct {
	version string
	at      time.Time
	names   map[string]string
	removed []string
	whole   bool // names are all that the client has then, not a change
}

func (s *stream) account(typeURL string) *account {
	a := s.types[typeURL]
	if a == nil {
		a = &account{sent: map[string]string{}, acked: map[string]string{}, open: map[string]*answer{}}
		s.types[typeURL] = a
	}
	return a
}

// has returns the versions of a resource that were sent and accepted; asked is false when it never was sent.
func (s *stream) has(typeURL, name string) (sent, acked string, asked bool) {
	a := s.types[typeURL]
	if a == nil {
		return "", "", false
	}
	sent, asked = a.sent[name]
	return sent, a.acked[name], asked
}

// brings notes what a client already has when it subscribes, from an earlier stream.
func (a *account) brings(versions map[string]string) {
	maps.Copy(a.sent, versions)
	maps.Copy(a.acked, versions)
}

func (a *account) send(nonce string, sent *answer) {
	a.open[nonce] = sent
	a.Sent = sent.version
	sent.on(a.sent)
}

// settle notes what the client said to the response with that nonce; ok is false when nothing was asked, as in a request that only
// changes a subscription.
func (a *account) settle(typeURL, nonce, problem string) (said Answer, ok bool) {
	sent, ok := a.open[nonce]
	if !ok {
		return Answer{}, false
	}
	delete(a.open, nonce)
	said = Answer{TypeURL: typeURL, Version: sent.version, Took: time.Since(sent.at), Error: problem}
	if problem != "" {
		said.First = a.rejected != sent.version
		a.rejected, a.Error = sent.version, problem
		a.NACKs++
		return said, true
	}
	a.Acked, a.Error = sent.version, ""
	sent.on(a.acked)
	return said, true
}

func (r *answer) on(known map[string]string) {
	if r.whole {
		clear(known)
	}
	maps.Copy(known, r.names)
	for _, name := range r.removed {
		delete(known, name)
	}
}

// forget drops resources that the client no longer wants.
func (a *account) forget(unwanted func(name string) bool) {
	for _, known := range []map[string]string{a.sent, a.acked} {
		maps.DeleteFunc(known, func(name, _ string) bool { return unwanted(name) })
	}
}

// Streams returns the open streams that made a request, the oldest first.
func (s *Server) Streams() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Status
	for _, st := range s.streams {
		if st.Group == "" {
			continue
		}
		status := Status{Stream: st.Stream, Types: map[string]TypeStatus{}}
		for typeURL, a := range st.types {
			status.Types[typeURL] = a.TypeStatus
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.Number, b.Number) })
	return all
}

// Count counts the streams of a group.
func (s *Server) Count(group string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[group]
}
