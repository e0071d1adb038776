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

// pulses remember which peers answered lately.
type pulses struct {
	mu   sync.Mutex
	last map[string]pulse
}

type pulse struct {
	at    time.Time
	alive bool
}

func newPulses() *pulses { return &pulses{last: map[string]pulse{}} }

func (p *pulses) felt(route string, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[route] = pulse{time.Now(), alive}
}

// of tells whether the peer answered lately; known is false when it was not asked lately.
func (p *pulses) of(route string) (alive, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := p.last[route]
	return last.alive, time.Since(last.at) < peerMemory
}

// home returns the sidecar that a request should go to instead: the one in the id, when that is another one and alive. A request that was
// forwarded once stays where it is. Whether that sidecar owns the session still is its own business: if not, it takes it over.
func (k *sticky) home(ctx context.Context, v *visit) (route string, ok bool) {
	h := k.h
	route = v.id.Route
	if v.hopped || route == h.opts.Route || !h.connected() {
		return "", false
	}
	if _, listed := (*h.peers.Load())[route]; !listed || (*h.leaving.Load())[route] {
		return "", false
	}
	if s := k.table.get(v.id.Random); s != nil && s.now.Load().owns(v.id) {
		return "", false // the client has not seen the last takeover yet
	}
	if alive, known := h.pulses.of(route); known {
		return route, alive
	}
	v2, _, err := h.ask(ctx, route, callHome, message{random: v.id.Random, issued: v.id.Issued, epoch: uint32(v.id.Epoch)})
	return route, err == nil && v2 == owned
}

// forward sends a request to the session's home: as the client sent it, its id included, with the proof that this sidecar did.
func (h *Handler) forward(v *visit, req *head.Head, route string) head.To {
	v.forwarded = route
	h.count("forwarded")
	shown := v.shown.String()
	cookie := h.opts.Cookie.Name + "=" + shown
	if others := req.Fields.Values("Cookie"); len(others) > 0 {
		cookie = strings.Join(others, "; ") + "; " + cookie
	}
	req.Fields.Set("Cookie", cookie)
	var nonce [12]byte
	mustRead(h.opts.Random, nonce[:])
	req.Fields.Set(fieldHop, h.hops.sign(route, nonce, hopParts(req, shown)...))
	return head.To{Network: "tcp", Address: (*h.peers.Load())[route]}
}

// hopParts are what the proof of a forwarded request covers: what is asked, by whose authority, for which session, and what is said of the
// client.
func hopParts(req *head.Head, id string) []string {
	return []string{"request", req.Method, req.Target, req.Authority, id,
		strings.Join(req.Fields.Values("X-Forwarded-For"), ", "), req.Fields.Get("X-Forwarded-Proto"), req.Fields.Get("X-Forwarded-Host")}
}

// Vouched checks the proof of a forwarded request, before the strip removes it. What a client sends under that name is a spoof.
func (h *Handler) Vouched(x *head.Exchange) bool {
	proofs := x.Request.Fields.Values(fieldHop)
	if len(proofs) != 1 || !h.connected() {
		return false
	}
	fields := append(head.Fields(nil), x.Request.Fields...)
	for _, value := range h.opts.Cookie.take(&fields) {
		if _, err := ring.ParseID(value); err != nil {
			continue
		}
		if _, ok := h.hops.verify(proofs[0], hopParts(&x.Request, value)...); ok {
			x.Request.Fields.Del(fieldHop) // it is no spoof
			x.Session = &visit{space: h.opts.Space, hopped: true}
			return true
		}
	}
	return false
}

// Lost takes over a safe request whose home died with it; what else may have been executed is not repeated.
func (h *Handler) Lost(x *head.Exchange, whole bool) (head.To, *head.Reply) {
	if v := x.Session.(*visit); v.forwarded == "" || !whole || !safe(x.Request.Method) {
		return head.To{}, head.Fail(502, head.AppUnreachable, "app closed the connection or its answer is malformed")
	}
	return h.Unreached(x)
}

// Unreached takes over what could not be forwarded: the home is gone.
func (h *Handler) Unreached(x *head.Exchange) (head.To, *head.Reply) {
	v := x.Session.(*visit)
	if v.forwarded == "" {
		return head.To{}, head.Fail(503, head.AppUnreachable, "app does not accept connections").Unexecuted()
	}
	h.pulses.felt(v.forwarded, false)
	v.forwarded = ""
	x.Request.Fields.Del(fieldHop)
	_ = h.opts.Cookie.take(&x.Request.Fields)
	return h.serve(x, v)
}
