package reverseproxy

import (
	"net/netip"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// setForwarded says to the app who asked (H12). What a trusted proxy says about the client before it stays and is added to;
// what anybody else says is replaced. Spellings that a CGI-like server would take for the same name always go.
func (e *Engine) setForwarded(x *head.Exchange) {
	trusted := e.trusts(x.Remote.Addr())
	fields := &x.Request.Fields
	fields.Keep(func(name string) bool {
		n := normal(name)
		if n != "forwarded" && !strings.HasPrefix(n, "x-forwarded-") {
			return true
		}
		return trusted && strings.EqualFold(n, name)
	})
	if x.Remote.IsValid() { // not on a Unix socket
		chain := append(fields.Values("X-Forwarded-For"), x.Remote.Addr().String())
		fields.Set("X-Forwarded-For", strings.Join(chain, ", "))
	}
	if !fields.Has("X-Forwarded-Proto") {
		fields.Add("X-Forwarded-Proto", scheme(x))
	}
	if !fields.Has("X-Forwarded-Host") && x.Request.Authority != "" {
		fields.Add("X-Forwarded-Host", x.Request.Authority)
	}
}

func (e *Engine) trusts(a netip.Addr) bool {
	for _, prefix := range e.options.TrustedProxies {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

func scheme(x *head.Exchange) string {
	if x.TLS != nil {
		return "https"
	}
	return "http"
}
