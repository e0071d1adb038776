// Package h2 is the HTTP engine for clients that speak HTTP/2: net/http before the app and httputil.ReverseProxy behind it, driving a
// head.Handler. It gets connections that have chosen HTTP/2, decrypted, from internal/h1, which serves everybody else and bounds how many there
// are (docs/decisions/0003-first-engine.md). To the app it speaks HTTP/1.1. It knows no sessions.
//
// What it promises:
//
//   - The request reaches the app as the client sent it: target byte for byte, authority, field values, body, trailers.
//     Only the order and spelling of field names are net/http's, hop-by-hop fields end here (RFC 9110, section 7.6.1, H3) and
//     X-Forwarded-* are ours unless a trusted proxy sent them (H12).
//   - Every response head passes the Handler before its first byte leaves: 1xx, final, and the trailers (H5).
//   - Bodies stream both ways with constant memory. HTTP/2 has no Upgrade (RFC 9113, section 8.6): an app that switches protocols is a 502.
//   - CONNECT, TRACE, too long heads and whatever would be another request in a line of HTTP/1.1 are refused (P3, P6).
//   - A request that the app may have executed is not sent again, but for the idempotent ones that net/http resends when a
//     pooled connection turns out to be dead (P7).
//   - Handler.End is called exactly once for each Handler.Request, also when a client leaves or code panics. A request that
//     is refused before Handler.Request never meets the Handler.
//
// The health path and everything below /.well-known/pillion/peer/ are answered here and never reach the app.
package h2

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// maxHeaderBytes is what net/http reads of one request head whatever Limits say, for it cannot be told a new limit later.
const maxHeaderBytes = 256 << 10

// flushAfter is how long a part of a body of known length may wait for more. Without it the head of every short response would
// go out alone, which costs a tenth of the engine's time. Events and bodies of unknown length never wait.
const flushAfter = time.Millisecond

// maxFrame is the least that HTTP/2 allows for a frame (RFC 9113, section 4.2). A client then has that much of our memory before anything of
// a frame is looked at, and not net/http's megabyte.
const maxFrame = 16 << 10

// Engine serves HTTP/2 on connections that are given to it as from a listener. It is safe for concurrent use.
type Engine struct {
	options   head.EngineOptions // Limits as they were at first
	limits    atomic.Pointer[head.Limits]
	server    *http.Server
	proxy     *httputil.ReverseProxy
	transport *http.Transport

	base      context.Context // of every request; ends with Shutdown
	cancel    context.CancelFunc
	draining  atomic.Bool
	exchanges atomic.Int64
	clients   clients

	mu        sync.Mutex // guards listeners and closing
	listeners []net.Listener
	closing   bool
	accepting sync.WaitGroup
}

// New builds an engine. It serves after Serve and holds nothing that needs closing before. TLS and the bound on connections are those' who accept
// them.
func New(o head.EngineOptions) *Engine {
	o = o.WithDefaults()
	e := &Engine{options: o}
	e.base, e.cancel = context.WithCancel(context.Background())
	e.SetLimits(o.Limits)
	e.transport = newTransport(o)
	e.server = e.newServer()
	e.proxy = &httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      e.transport,
		FlushInterval:  flushAfter,
		BufferPool:     &bufferPool{},
		ModifyResponse: modifyResponse,
		ErrorHandler:   handleError,
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug), // the exchange says it better
	}
	return e
}

func (e *Engine) newServer() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true) // chosen in a handshake that is over
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:                      http.HandlerFunc(e.serveHTTP),
		Protocols:                    protocols,
		MaxHeaderBytes:               maxHeaderBytes,
		HTTP2:                        &http.HTTP2Config{MaxReadFrameSize: maxFrame},
		IdleTimeout:                  e.options.Limits.Idle,
		ReadHeaderTimeout:            e.options.Limits.HeaderTimeout,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the app's to answer
		BaseContext:                  func(net.Listener) context.Context { return e.base },
		ConnState:                    e.clients.watch,
		ErrorLog:                     slog.NewLogLogger(e.options.Log.Handler(), slog.LevelDebug),
	}
}

// SetLimits changes the limits of a running engine, but for Idle and HeaderTimeout: net/http reads those without a lock, so
// they stay as New got them.
func (e *Engine) SetLimits(l head.Limits) { e.limits.Store(&l) }

// bufferPool lends ReverseProxy the buffers it copies bodies with.
type bufferPool struct{ pool sync.Pool }

const copySize = 32 << 10

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[copySize]byte); ok {
		return b[:]
	}
	return make([]byte, copySize)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put((*[copySize]byte)(b)) }
