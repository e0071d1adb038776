package sidecar

import (
	"slices"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// detour sends a request whose app does not accept connections to another sidecar, which serves it whatever its home: so an app can be
// replaced behind its sidecar, and no front need know (DESIGN 8). Nothing of the request was sent. What came by a detour takes no other one,
// and when no peer is left the front is told that nothing was executed.
func (h *Handler) detour(x *head.Exchange, v *visit) (head.To, *head.Reply) {
	if !v.detoured && h.connected() {
		if route := h.otherThan(v.tried); route != "" {
			v.tried = append(v.tried, route)
			h.withdraw(v, &x.Request)
			h.count("detour")
			return h.pass(x, v, route, detoured), nil
		}
	}
	return head.To{}, head.Fail(503, head.AppUnreachable, "app does not accept connections").Unexecuted()
}

// otherThan chooses a peer that was not tried: one that answered lately before one that was not asked, then one that leaves, for it serves
// still, and at last one that is dead. Where several are alike, requests take turns.
func (h *Handler) otherThan(tried []string) (best string) {
	routes := h.peerRoutes()
	turn, most := int(h.turn.Add(1)), 0
	for i := range routes {
		route := routes[(turn+i)%len(routes)]
		if rank := h.rank(route); rank > most && !slices.Contains(tried, route) {
			best, most = route, rank
		}
	}
	return best
}

func (h *Handler) rank(route string) int {
	alive, known := h.pulses.of(route)
	switch {
	case known && !alive:
		return 1
	case !h.takes(route):
		return 2
	case !known:
		return 3
	}
	return 4
}

// withdraw takes back what serve prepared for the app.
func (h *Handler) withdraw(v *visit, req *head.Head) {
	v.release()
	h.handles.close(v.handle)
	v.handle, v.loaded, v.id = "", nil, ring.ID{}
	strip(&req.Fields)
}

// passed looks at the answer of the sidecar that a request was passed on to, which has done all that is to do; or nothing at all.
func (h *Handler) passed(v *visit, resp *head.Head) error {
	h.pulses.felt(v.forwarded, true)
	if resp.Status >= 200 || resp.Status == 101 {
		h.awaited.answered(&v.await)
	}
	if resp.Status == 503 && resp.Fields.Has(head.NotExecuted) {
		return head.ErrNotExecuted
	}
	return nil
}
