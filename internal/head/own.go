package head

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

const (
	// PeerPath is where sidecars talk to each other; the app never hears of it.
	PeerPath = "/.well-known/pillion/peer"
	// MaxPeerBody is more than any sealed session.
	MaxPeerBody = 2 << 20
	// ProofField carries what proves that a call comes from a sidecar of the same fleet.
	ProofField = "Pillion-Hop"
)

// What engines answer by themselves.
var (
	healthy = &Reply{Status: http.StatusOK, Body: "ok\n", Fields: Fields{
		{"Content-Type", "text/plain; charset=utf-8"}, {"Cache-Control", "no-store"},
	}}
	draining  = Fail(http.StatusServiceUnavailable, Draining, "this sidecar is leaving")
	unhealthy = Fail(http.StatusServiceUnavailable, AppUnreachable, "not ready; /ready of the admin listener says why")

	noSuchPath     = Fail(http.StatusNotFound, RequestRefused, "no such path")
	notImplemented = Fail(http.StatusNotImplemented, RequestRefused, "method is not implemented")

	TooManyFields = Fail(http.StatusRequestHeaderFieldsTooLarge, RequestRefused, "too many header fields")
	TooLongFields = Fail(http.StatusRequestHeaderFieldsTooLarge, RequestRefused, "header fields are too long")
	BadBody       = Fail(http.StatusBadRequest, RequestRefused, "request body is malformed or incomplete")

	// Unreached: a retrying front may send the request elsewhere, for the app has seen nothing of it.
	Unreached = Fail(http.StatusServiceUnavailable, AppUnreachable, "app does not accept connections").Unexecuted()
	TimedOut  = Fail(http.StatusGatewayTimeout, AppTimeout, "app did not answer in time")
	BadAnswer = Fail(http.StatusBadGateway, AppUnreachable, "app closed the connection or its answer is malformed")

	InternalError = Fail(http.StatusInternalServerError, "proxy_internal_error", "internal error") // RFC 9209, section 2.3
)

// Own is the answer to a request that no Handler shall see: health checks, methods that no proxy of apps serves (P6), and the peer path,
// unless Peer answered. nil for all others.
func (o *EngineOptions) Own(method, target string, leaving bool) *Reply {
	if method == http.MethodConnect || method == http.MethodTrace {
		return notImplemented
	}
	if !mayBeOwn(target, o.HealthPath) {
		return nil
	}
	at := pathOf(target)
	if o.HealthPath != "" && at == o.HealthPath {
		switch {
		case leaving:
			return draining
		case !o.Health():
			return unhealthy
		}
		return healthy
	}
	if at = path.Clean(at); at == PeerPath || strings.HasPrefix(at, PeerPath+"/") {
		return noSuchPath
	}
	return nil
}

// mayBeOwn is a glance that spares nearly every request the rest.
func mayBeOwn(target, health string) bool {
	return strings.Contains(target, "pillion") || strings.Contains(target, "%") || health != "" && strings.HasPrefix(target, health)
}

// pathOf is the path of a target in origin form as an app may decode it.
func pathOf(target string) string {
	raw, _, _ := strings.Cut(target, "?")
	if decoded, err := url.PathUnescape(raw); err == nil {
		return decoded
	}
	return raw
}

// IsPeerCall tells whether a request is one sidecar's call to another, and returns its proof.
func IsPeerCall(method, target string, fields Fields) (proof string, ok bool) {
	if method != http.MethodPost || !strings.HasPrefix(target, PeerPath+"/") {
		return "", false
	}
	proofs := fields.Values(ProofField)
	if len(proofs) != 1 {
		return "", false
	}
	return proofs[0], true
}
