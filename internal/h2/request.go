package h2

import (
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// outgoing is the request as the Handler left it, for ReverseProxy to send. ReverseProxy sends a clone, whose header it
// would edit; rewrite puts this one's back.
func (x *exchange) outgoing(to head.To) *http.Request {
	r := x.request.WithContext(context.WithValue(x.attempt.begin(x.sending(to.Timeout)), exchangeKey{}, x))
	r.Method = x.Request.Method
	r.URL = outgoingURL(to, x.Request.Target)
	r.Host = x.Request.Authority
	if r.Host == "" { // HTTP/1.1 wants one
		r.Host = "localhost"
	}
	r.Header = make(http.Header, len(x.Request.Fields)+2)
	toHeader(r.Header, x.Request.Fields)
	noResend(r.Header)
	if r.ContentLength != 0 {
		x.outgoingBody(r)
	} else {
		x.deadline.start()
	}
	return r
}

// outgoingURL makes net/http write target byte for byte, which it does with an opaque URL. One that begins with two slashes
// would be written in absolute form, with their host: it goes the common way, which escapes what RFC 3986 does not allow.
func outgoingURL(to head.To, target string) *url.URL {
	u := &url.URL{Scheme: "http", Host: hostOf(to)}
	if !strings.HasPrefix(target, "//") {
		u.Opaque = target
		return u
	}
	if parsed, err := url.ParseRequestURI(target); err == nil {
		u.Path, u.RawPath, u.RawQuery, u.ForceQuery = parsed.Path, parsed.RawPath, parsed.RawQuery, parsed.ForceQuery
	}
	return u
}

// noResend hides these names from Transport, which would take them as the leave to send a POST twice (P7). On the wire any
// spelling means the same.
func noResend(h http.Header) {
	for _, name := range [...]string{"Idempotency-Key", "X-Idempotency-Key"} {
		if values, ok := h[name]; ok {
			delete(h, name)
			h[strings.ToLower(name)] = values
		}
	}
}

// rewrite is ReverseProxy's hook; everything was decided in outgoing, and ReverseProxy's edits are undone: it removes query
// parameters that it finds malformed, for one. The trailer map is shared with the request as it came, where net/http fills it
// when the body ends.
func rewrite(p *httputil.ProxyRequest) {
	p.Out.URL = p.In.URL
	p.Out.Header = p.In.Header
	p.Out.Trailer = p.In.Trailer
}
