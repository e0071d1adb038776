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
// next answer; the cookies of birth, renewal and destruction cannot wait, so the answer becomes private. So does any other that a shared cache may
// keep with the cookie in it, as one with max-age (RFC 9111, sections 3 and 7.3).
func (h *Handler) restrain(v *visit, in *instructions, resp *head.Head, cookie string) string {
	if !resp.Fields.Has("Cache-Control") {
		resp.Fields.Add("Cache-Control", "private, no-cache")
	}
	if cookie == "" {
		return ""
	}
	control := strings.ToLower(strings.Join(resp.Fields.Values("Cache-Control"), ","))
	switch {
	case !strings.Contains(control, "public") && !strings.Contains(control, "s-maxage"):
		if !resp.Fields.HasItem("Cache-Control", "private") && !resp.Fields.HasItem("Cache-Control", "no-store") {
			resp.Fields.Add("Cache-Control", "private")
		}
	case in.destroy || v.born:
		resp.Fields.Set("Cache-Control", "private, no-store")
		h.opts.Metrics.ContractErrors.WithLabelValues("public_with_cookie").Inc()
	default:
		return ""
	}
	resp.Fields.Keep(func(name string) bool { return !isTargeted(name) })
	return cookie
}

// isTargeted tells whether a field tells caches of one kind what they may keep, whatever Cache-Control says (RFC 9213).
func isTargeted(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "cdn-cache-control") || name == "surrogate-control"
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
