package sidecar

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// PeerPath is where sidecars call each other, on their data addresses. Anything else below it is a 404 and never reaches the app.
const PeerPath = "/.well-known/pillion/peer/"

const (
	// peerTimeout is how long a peer may take to answer: the longest wait for a running commit and a margin.
	peerTimeout = releaseWait + 200*time.Millisecond
	// maxPeerBody bounds a call: one sealed record and its name.
	maxPeerBody = 1 << 20
)

// ErrRefused is what a Caller returns when nobody listens at the address: the process is gone.
var ErrRefused = errors.New("sidecar: the peer refuses connections")

// ErrDeclined is what a Caller returns when the peer answered, and not to the call.
var ErrDeclined = errors.New("sidecar: the peer answers another thing")

// errSilent: the peer neither answered nor refused; it may be alive and serving.
var errSilent = errors.New("sidecar: the peer does not answer")

// Caller posts a body to another sidecar with the proof of the call, and returns what it answers.
type Caller func(ctx context.Context, address, target, proof string, body []byte) (answer []byte, err error)

// Sealer seals the records that sidecars hand each other.
type Sealer interface {
	Seal(storageKey string, r *sessioncodec.Record) ([]byte, error)
	Open(storageKey string, blob []byte) (*sessioncodec.Record, error)
}

// verdict is what a peer says about a session.
type verdict byte

const (
	released verdict = 'R' // it owned the session and owns it no more; its newest record comes along
	notMine  verdict = 'N' // it does not own it; what it kept comes along
	busy     verdict = 'B' // it owns it, and a commit is running
	owned    verdict = 'O' // it owns it and took what it was handed
	goes     verdict = 'L' // it owns it and is about to leave
)

// The calls.
const (
	callRelease = "release" // stop owning, and tell what you know (K7)
	callJoin    = "join"    // you own this: take what I know (K6)
	callTell    = "tell"    // this session is destroyed (K11)
	callHome    = "home"    // do you own this?
	callLeave   = "leave"   // I am about to leave: send me nothing (DESIGN 8)
	callRejoin  = "rejoin"  // I stay after all
)

// message is the body of a call or of its answer: the session, a number, and a sealed record if there is one.
type message struct {
	random [16]byte
	issued uint32
	epoch  uint32 // of the call: the highest epoch that the asker has seen
	record *sessioncodec.Record
}

const messageHead = 16 + 4 + 4

func (h *Handler) encode(m message) ([]byte, error) {
	b := append(make([]byte, 0, 1024), m.random[:]...)
	b = binary.BigEndian.AppendUint32(b, m.issued)
	b = binary.BigEndian.AppendUint32(b, m.epoch)
	if m.record == nil {
		return b, nil
	}
	sealed, err := (*h.sealer.Load()).Seal(ring.StorageKey(h.opts.Space, m.random), m.record)
	return append(b, sealed...), err
}

func (h *Handler) decode(b []byte) (m message, err error) {
	if len(b) < messageHead {
		return m, errors.New("sidecar: a peer's message is cut short")
	}
	copy(m.random[:], b)
	m.issued = binary.BigEndian.Uint32(b[16:])
	m.epoch = binary.BigEndian.Uint32(b[20:])
	if b = b[messageHead:]; len(b) > 0 {
		m.record, err = (*h.sealer.Load()).Open(ring.StorageKey(h.opts.Space, m.random), b)
	}
	return m, err
}

// SetPeers replaces the addresses of the other sidecars, by route.
func (h *Handler) SetPeers(addresses map[string]string) {
	peers := maps.Clone(addresses)
	delete(peers, h.opts.Route)
	h.peers.Store(&peers)
}

// SetLeaving replaces the routes of peers that drain, as a control plane knows them. They are asked to hand sessions over, and no request is
// forwarded to them: it could meet a closing connection.
func (h *Handler) SetLeaving(routes map[string]bool) {
	leaving := maps.Clone(routes)
	h.leaving.Store(&leaving)
}

// connected tells whether this sidecar can ask others at all.
func (h *Handler) connected() bool {
	return h.opts.Call != nil && h.hops.configured() && len(*h.peers.Load()) > 0
}

// peerRoutes lists the other sidecars.
func (h *Handler) peerRoutes() []string { return slices.Sorted(maps.Keys(*h.peers.Load())) }

// ask calls one peer. The error is ErrRefused, errSilent, or nil.
func (h *Handler) ask(ctx context.Context, route, call string, m message) (verdict, message, error) {
	address, ok := (*h.peers.Load())[route]
	if !ok {
		return 0, message{}, errSilent // somebody owned the session whom nobody lists: it may still run
	}
	return h.call(ctx, route, address, call, m)
}

// call asks a peer that may not be listed any more.
func (h *Handler) call(ctx context.Context, route, address, call string, m message) (verdict, message, error) {
	body, err := h.encode(m)
	if err != nil {
		return 0, message{}, err
	}
	nonce := h.hops.nonce()
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	target := PeerPath + call
	answer, err := h.opts.Call(ctx, address, target, h.hops.sign(route, nonce, "POST", target, digest(body)), body)
	h.pulses.felt(route, err == nil)
	switch {
	case errors.Is(err, ErrRefused):
		return 0, message{}, ErrRefused
	case errors.Is(err, ErrDeclined):
		h.opts.Log.Warn("a peer does not take a call", "peer", route, "call", call, "error", err)
		return 0, message{}, errors.Join(errSilent, ErrDeclined)
	case err != nil || len(answer) < sha256.Size+1 || !h.hops.answers(nonce, answer[sha256.Size:], answer[:sha256.Size]):
		h.opts.Log.Warn("a peer did not answer", "peer", route, "call", call, "error", err)
		return 0, message{}, errSilent
	}
	reply, err := h.decode(answer[sha256.Size+1:])
	if err != nil || reply.random != m.random {
		return 0, message{}, fmt.Errorf("%w: its answer makes no sense", errSilent)
	}
	return verdict(answer[sha256.Size]), reply, nil
}

// Peer answers a call of another sidecar: the HTTP engine brings it here. ok is false for what no sidecar of this fleet sent; the
// sender learns nothing from that.
func (h *Handler) Peer(ctx context.Context, target, proof string, body []byte) (answer []byte, ok bool) {
	if len(body) > maxPeerBody || !h.hops.configured() {
		return nil, false
	}
	caller, ok := h.hops.verify(proof, "POST", target, digest(body))
	if !ok {
		h.opts.Metrics.Spoofs.Inc()
		return nil, false
	}
	m, err := h.decode(body)
	if err != nil {
		return nil, false
	}
	v, reply := h.hear(ctx, caller.from, target[len(PeerPath):], m)
	reply.random, reply.issued = m.random, m.issued
	b, err := h.encode(reply)
	if err != nil {
		return nil, false
	}
	b = append([]byte{byte(v)}, b...)
	return append(h.hops.answerMAC(caller.nonce, b), b...), true
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return string(sum[:])
}
