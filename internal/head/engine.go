package head

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// EngineOptions say what an HTTP engine serves and how; every engine is built from them. Only Handler is required.
type EngineOptions struct {
	Handler Handler

	HealthPath string      // "" answers no health checks
	Health     func() bool // nil is always healthy

	// Peer answers what other sidecars post below the peer path; false, or a nil Peer, is a 404.
	Peer func(ctx context.Context, target, proof string, body []byte) (answer []byte, ok bool)

	Limits          Limits
	UpstreamTimeout time.Duration // from the end of a request to the head of its response; 0 waits forever
	TrustedProxies  []netip.Prefix
	TLS             *tls.Config // towards the client; nil serves plain TCP, with HTTP/2 by prior knowledge

	Dial      func(ctx context.Context, network, address string) (net.Conn, error) // nil is a net.Dialer
	OwnAnswer func(token string)                                                   // told of every answer that says a failure
	Log       *slog.Logger                                                         // nil is silent
	AccessLog bool
}

// Limits bound what clients can take. Zero is no limit.
type Limits struct {
	HeaderBytes   int           // of a request's field lines
	HeaderCount   int           // of a request's field lines
	Connections   int           // of clients; more wait in the kernel's queue until one ends
	Idle          time.Duration // of a connection between requests
	HeaderTimeout time.Duration // a client may take for one request head
}

// What Handler.End may be told; other errors say what kept the rest of a response from the client.
var (
	ErrClientGone = errors.New("head: the client left")
	ErrTruncated  = errors.New("head: the app's response broke off")
)

const (
	// DialTimeout is short: the app is on this machine, and who refuses for longer is better answered with a 503.
	DialTimeout = 3 * time.Second
	// UpstreamIdle is how long a connection to the app waits for its next request: below the shortest idle timeout in common servers
	// (gunicorn 2 s, Node and uvicorn 5 s). A POST that meets a connection which the app is just closing cannot be sent again, and
	// dialing on this machine costs little.
	UpstreamIdle = 1500 * time.Millisecond
	// UpstreamKept is how many connections to one app may wait.
	UpstreamKept = 1024
	// MaxResponseHeader is the longest response head (DESIGN 5: it carries a patch of 64 KiB).
	MaxResponseHeader = 96 << 10
	// ContinueAfter is when a body is sent to an app that ignores Expect; curl waits as long.
	ContinueAfter = time.Second
	// LastCalls is how long a shutdown waits for exchanges whose connections it has closed.
	LastCalls = 2 * time.Second
	// FirstRequest is how long a new connection may stay silent while an engine shuts down. Who connects to ask asks at once; a
	// browser's spare connection never does.
	FirstRequest = time.Second
)

// WithDefaults fills what was left out.
func (o EngineOptions) WithDefaults() EngineOptions {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Health == nil {
		o.Health = func() bool { return true }
	}
	if o.OwnAnswer == nil {
		o.OwnAnswer = func(string) {}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: DialTimeout}).DialContext
	}
	return o
}
