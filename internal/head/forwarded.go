package head

import (
	"net/netip"
	"strings"
)

// SetForwarded says to the app who asked (H12). What a sidecar that the Handler vouches for says about the client stays as it is, what a
// trusted proxy says stays and is added to, and what anybody else says is replaced. Spellings that a CGI-like server would take for
// the same name always go.
func (o *EngineOptions) SetForwarded(x *Exchange) {
	if voucher, ok := o.Handler.(Voucher); ok && voucher.Vouched(x) {
		return
	}
	fields := &x.Request.Fields
	trusted := contain(o.TrustedProxies, x.Remote.Addr())
	fields.Keep(func(name string) bool { return !saysForwarded(name) || trusted && isPlain(name) })
	if x.RemoteIP != "" {
		chain := x.RemoteIP
		if trusted && fields.Has(forwardedFor) {
			chain = strings.Join(append(fields.Values(forwardedFor), chain), ", ")
		}
		fields.Set(forwardedFor, chain)
	}
	if !fields.Has(forwardedProto) {
		fields.Add(forwardedProto, x.scheme())
	}
	if !fields.Has(forwardedHost) && x.Request.Authority != "" {
		fields.Add(forwardedHost, x.Request.Authority)
	}
}

const (
	forwardedFor   = "X-Forwarded-For"
	forwardedProto = "X-Forwarded-Proto"
	forwardedHost  = "X-Forwarded-Host"
)

// Client is who asked, once SetForwarded has written down who says so: the last in X-Forwarded-For that is no trusted proxy.
func (x *Exchange) Client(trusted []netip.Prefix) netip.Addr {
	client := x.Remote.Addr()
	chain := x.Request.Fields.Get(forwardedFor)
	for chain != "" {
		at := strings.LastIndexByte(chain, ',')
		said, err := netip.ParseAddr(strings.TrimSpace(chain[at+1:]))
		if err != nil {
			break
		}
		if client = said.Unmap(); !contain(trusted, client) {
			break
		}
		chain = chain[:max(at, 0)]
	}
	return client
}

func contain(networks []netip.Prefix, a netip.Addr) bool {
	for _, prefix := range networks {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

func (x *Exchange) scheme() string {
	if x.TLS != nil {
		return "https"
	}
	return "http"
}

// saysForwarded tells whether some server behind us may read name as one of these.
func saysForwarded(name string) bool {
	return looksLike(name, "x-forwarded-") || len(name) == len("forwarded") && looksLike(name, "forwarded")
}

// looksLike tells whether name begins with prefix in the eyes of a server with the CGI convention: without regard to case, everything
// but letters and digits a hyphen (H1).
func looksLike(name, prefix string) bool {
	if len(name) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c < '0' || c > '9' && c < 'a' || c > 'z':
			c = '-'
		}
		if c != prefix[i] {
			return false
		}
	}
	return true
}

// isPlain tells whether name is of letters, digits and hyphens, so that there is but one way to read it.
func isPlain(name string) bool {
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z')
	})
}
