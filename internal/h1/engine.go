package h1

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Options say what an Engine serves and how.
type Options struct {
	head.EngineOptions

	// HTTP2 serves the connections that speak it; nil serves none. It gets them decrypted, and is drained and shut down with the engine.
	HTTP2 HTTP2
	// ProxyProtocol wants each connection to begin with a header of the PROXY protocol, version 1 or 2, that says who the client is.
	ProxyProtocol bool
}

// HTTP2 is another engine.
type HTTP2 interface {
	Serve(net.Listener) error
	Drain()
	Undrain()
	Shutdown(context.Context) error
}

// Engine serves HTTP on listeners. It is safe for concurrent use.
type Engine struct {
	options  Options
	rerouter head.Rerouter // the Handler, where it is one
	repeater head.Repeater
	encoder  head.Encoder

	limits    atomic.Pointer[head.Limits]
	draining  atomic.Bool
	exchanges sync.Pool
	pool      pool
	handover  *handover // to HTTP2; nil without
	dated     atomic.Pointer[dated]

	sweeper sync.Mutex   // orders the sweeper's interference with the connections it interferes with
	ticks   atomic.Int64 // of the sweeper
	due     atomic.Int64 // when it looks again
	doubt   atomic.Int64 // until when clients may have left long ago: see stoodStill
	woken   chan struct{}
	stopped chan struct{}

	mu        sync.Mutex
	freed     sync.Cond // room for another connection, or the limit changed
	open      int       // connections, those with HTTP/2 too
	conns     []*conn
	listeners map[*listener]struct{}
	started   bool
	closing   bool
	ended     bool
	running   sync.WaitGroup // listeners and connections
	beside    sync.WaitGroup // the sweeper and HTTP2
}

// New builds an engine. It serves after Serve and holds nothing that needs closing before.
func New(o Options) *Engine {
	o.EngineOptions = o.WithDefaults()
	e := &Engine{
		options: o, listeners: map[*listener]struct{}{}, woken: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
	e.rerouter, _ = o.Handler.(head.Rerouter)
	e.repeater, _ = o.Handler.(head.Repeater)
	e.encoder, _ = o.Handler.(head.Encoder)
	e.pool.apps = map[app]*stack{}
	e.exchanges.New = func() any { return e.newExchange() }
	e.freed.L = &e.mu
	e.SetLimits(o.Limits)
	if o.HTTP2 != nil {
		e.handover = newHandover()
	}
	return e
}

// SetLimits changes the limits of a running engine.
func (e *Engine) SetLimits(l head.Limits) {
	e.limits.Store(&l)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.freed.Broadcast()
}

// Drain asks clients to go elsewhere, and still serves everyone: the health path answers 503 and each response closes its connection.
// Nothing that is under way is disturbed.
func (e *Engine) Drain() {
	e.draining.Store(true)
	if e.options.HTTP2 != nil {
		e.options.HTTP2.Drain()
	}
}

// Undrain takes Drain back.
func (e *Engine) Undrain() {
	e.draining.Store(false)
	if e.options.HTTP2 != nil {
		e.options.HTTP2.Undrain()
	}
}

// dated is the Date field of one second.
type dated struct {
	second int64
	text   string
}

func (e *Engine) date() string {
	at := time.Now()
	d := e.dated.Load()
	if d == nil || d.second != at.Unix() {
		d = &dated{at.Unix(), at.UTC().Format(http.TimeFormat)}
		e.dated.Store(d)
	}
	return d.text
}
