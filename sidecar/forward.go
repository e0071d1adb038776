package sidecar

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// fieldHop carries the proof of a forwarded request and of a call between sidecars.
const fieldHop = "Pillion-Hop"

// peerMemory is how long a peer that answered counts as alive, and one that did not as dead.
const peerMemory = time.Second

// pulses remember which peers answered lately, and which of them leave.
type pulses struct {
	mu   sync.Mutex
	last map[string]pulse
}

type pulse struct {
	at, told       time.Time // when it answered or did not; when it said whether it leaves
	alive, leaving bool
}

func newPulses() *pulses { return &pulses{last: map[string]pulse{}} }

// felt notes that the peer answered or did not; whether it leaves is what it said last.
func (p *pulses) felt(route string, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[route]
	p.last[route] = pulse{time.Now(), last.told, alive, alive && last.leaving}
}

// told notes what the peer says of itself, in a call of its own or in the answer to one that was made at that time: what it said since then
// is newer.
func (p *pulses) told(route string, leaving bool, asked time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[route]
	if last.told.After(asked) {
		leaving = last.leaving
	}
	now := time.Now()
	p.last[route] = pulse{now, now, true, leaving}
}

// of tells whether the peer answered lately; known is false when it was not asked lately.
func (p *pulses) of(route string) (alive, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[route]
	return last.alive, time.Since(last.at) < peerMemory
}

// leaves tells whether the peer said lately that it leaves.
func (p *pulses) leaves(route string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[route]
	return last.leaving && time.Since(last.at) < peerMemory
}

// home returns the sidecar that a request should go to instead: the one in the id, when that is another one and alive. A request that was
// forwarded once stays where it is. Whether that sidecar owns the session still is its own business: if not, it takes it over.
func (k *sticky) home(ctx context.Context, v *visit) (route string, ok bool) {
	h := k.h
	route = v.id.Route
	if v.hopped || route == h.opts.Route || !h.connected() {
		return "", false
	}
	if !h.takes(route) {
		return "", false
	}
	if s := k.table.get(v.id.Random); s != nil && s.now.Load().owns(v.id) {
		return "", false // the client has not seen the last takeover yet
	}
	if alive, known := h.pulses.of(route); known {
		return route, alive
	}
	said, err := h.askHome(ctx, route, (*h.peers.Load())[route], asking(v.id))
	return route, err == nil && said == owned
}

// askHome asks a peer whether it owns a session, and so whether it lives and stays.
func (h *Handler) askHome(ctx context.Context, route, address string, about message) (verdict, error) {
	asked := time.Now()
	said, _, err := h.call(ctx, route, address, callHome, about)
	if err == nil {
		h.pulses.told(route, said == goes, asked)
	}
	return said, err
}

func asking(id ring.ID) message {
	return message{random: id.Random, issued: id.Issued, epoch: uint32(id.Epoch)}
}

// takes tells whether requests may be sent to a peer: it is listed and does not leave.
func (h *Handler) takes(route string) bool {
	_, listed := (*h.peers.Load())[route]
	return listed && !(*h.leaving.Load())[route] && !h.pulses.leaves(route)
}

// forward sends a request to the session's home: as the client sent it, its id included, with the proof that this sidecar did.
func (h *Handler) forward(x *head.Exchange, v *visit, route string) head.To {
	h.count("forwarded")
	return h.pass(x, v, route, forwarded)
}

// The reasons for which a request is passed on; the proof has it.
const (
	forwarded = "request" // the receiver is its home
	detoured  = "detour"  // the sender's app is down
)

// pass sends a request to a peer with the proof that this sidecar did.
func (h *Handler) pass(x *head.Exchange, v *visit, route, why string) head.To {
	req, address := &x.Request, (*h.peers.Load())[route]
	v.forwarded = route
	v.inquiry = inquiry{route, address, asking(v.shown)}
	h.awaited.enter(&v.await, x, &v.inquiry)
	shown := ""
	if v.shown != (ring.ID{}) {
		shown = v.shown.String()
		cookie := h.opts.Cookie.Name + "=" + shown
		if others := req.Fields.Values("Cookie"); len(others) > 0 {
			cookie = strings.Join(others, "; ") + "; " + cookie
		}
		req.Fields.Set("Cookie", cookie)
	}
	req.Fields.Set(fieldHop, h.hops.sign(route, h.hops.nonce(), hopParts(why, req, shown)...))
	return head.To{Network: "tcp", Address: address}
}

// hopParts are what the proof of a forwarded request covers: what is asked, by whose authority, for which session, and what is said of the
// client.
func hopParts(why string, req *head.Head, id string) []string {
	return []string{why, req.Method, req.Target, req.Authority, id,
		strings.Join(req.Fields.Values("X-Forwarded-For"), ", "), req.Fields.Get("X-Forwarded-Proto"), req.Fields.Get("X-Forwarded-Host")}
}

// Vouched checks the proof of a forwarded request, before the strip removes it. What a client sends under that name is a spoof.
func (h *Handler) Vouched(x *head.Exchange) bool {
	proofs := x.Request.Fields.Values(fieldHop)
	if len(proofs) != 1 || !h.connected() {
		return false
	}
	fields := append(head.Fields(nil), x.Request.Fields...)
	found := h.opts.Cookie.take(&fields)
	for _, id := range append(found.all(), "") { // without an id last: a detour of a visitor without session
		if _, err := ring.ParseID(id); err != nil && id != "" {
			continue
		}
		for _, why := range []string{forwarded, detoured} {
			if _, ok := h.hops.verify(proofs[0], hopParts(why, &x.Request, id)...); ok {
				x.Request.Fields.Del(fieldHop) // it is no spoof
				x.Session = &visit{space: h.opts.Space, hopped: true, detoured: why == detoured}
				return true
			}
		}
	}
	return false
}

// Lost takes over a safe request whose home died with it; what else may have been executed is not repeated.
func (h *Handler) Lost(x *head.Exchange, whole bool) (head.To, *head.Reply) {
	v := x.Session.(*visit)
	switch {
	case v.forwarded == "":
		return head.To{}, head.BadAnswer
	case !whole || !safe(x.Request.Method):
		h.awaited.leave(&v.await)
		return head.To{}, head.Fail(502, head.AppUnreachable, "the sidecar that had the request is gone; the request may have been executed")
	}
	return h.Unreached(x)
}

// Unreached takes over what could not be forwarded, for the home is gone or declined it; what this sidecar's own app does not accept goes
// to a peer.
func (h *Handler) Unreached(x *head.Exchange) (head.To, *head.Reply) {
	v := x.Session.(*visit)
	h.awaited.leave(&v.await)
	if v.forwarded != "" {
		h.pulses.felt(v.forwarded, false)
		v.forwarded, v.now = "", time.Time{}
		x.Request.Fields.Del(fieldHop)
		_ = h.opts.Cookie.take(&x.Request.Fields)
		if v.tried == nil {
			return h.serve(x, v)
		}
	} else if h.opts.AppRefused != nil {
		h.opts.AppRefused()
	}
	return h.detour(x, v)
}
