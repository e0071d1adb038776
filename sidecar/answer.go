package sidecar

import (
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// answer writes the cookie and what keeps caches from mixing visitors up.
func (h *Handler) answer(v *visit, in *instructions, resp *head.Head) {
	cookie := h.cookieFor(v, in)
	if cookie == "" && v.loaded == nil && v.shown == (ring.ID{}) {
		return // nobody's session: the answer stays as cacheable as the app made it
	}
	cookie = h.restrain(v, in, resp, cookie)
	if cookie != "" {
		resp.Fields.Add("Set-Cookie", cookie)
	}
	varyByCookie(&resp.Fields)
}

// cookieFor is the Set-Cookie of this answer: at birth, renewal, relocation, takeover and destruction only, and whenever the client
// shows an id that is no longer the session's. An id from before a renewal never learns the new one (L3).
func (h *Handler) cookieFor(v *visit, in *instructions) string {
	switch {
	case in.destroy:
		if v.shown == (ring.ID{}) {
			return ""
		}
		return h.opts.Cookie.expire()
	case v.loaded == nil || v.frozen:
		return ""
	}
	if v.id == v.shown {
		return ""
	}
	return h.opts.Cookie.write(v.id)
}

// restrain settles the answer's cache directives. An answer that the app called public keeps that, and a relocation's cookie waits for the
// next answer; the cookies of birth, renewal and destruction cannot wait, so the answer becomes private.
func (h *Handler) restrain(v *visit, in *instructions, resp *head.Head, cookie string) string {
	if !resp.Fields.Has("Cache-Control") {
		resp.Fields.Add("Cache-Control", "private, no-cache")
		return cookie
	}
	control := strings.ToLower(strings.Join(resp.Fields.Values("Cache-Control"), ","))
	switch {
	case cookie == "" || !strings.Contains(control, "public") && !strings.Contains(control, "s-maxage"):
	case in.destroy || v.born:
		resp.Fields.Set("Cache-Control", "private, no-store")
		h.opts.Metrics.ContractErrors.WithLabelValues("public_with_cookie").Inc()
	default:
		return ""
	}
	return cookie
}

// varyByCookie merges Cookie into Vary.
func varyByCookie(fields *head.Fields) {
	for _, line := range *fields {
		if !strings.EqualFold(line.Name, "Vary") {
			continue
		}
		for name := range strings.SplitSeq(line.Value, ",") {
			if name = strings.TrimSpace(name); name == "*" || strings.EqualFold(name, "Cookie") {
				return
			}
		}
	}
	fields.Add("Vary", "Cookie")
}
