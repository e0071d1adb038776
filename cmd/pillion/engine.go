package main

import (
	"github.com/pillion-proxy/pillion/internal/h1"
	"github.com/pillion-proxy/pillion/internal/h2"
	"github.com/pillion-proxy/pillion/internal/head"
)

// engine is the two HTTP engines as one: ours, and that of net/http for the connections that speak HTTP/2.
type engine struct {
	*h1.Engine
	http2 *h2.Engine
}

func newEngine(o head.EngineOptions, proxyProtocol bool) *engine {
	http2 := h2.New(o) // it gets connections decrypted, and counted
	return &engine{h1.New(h1.Options{EngineOptions: o, HTTP2: http2, ProxyProtocol: proxyProtocol}), http2}
}

// SetLimits changes the limits of both.
func (e *engine) SetLimits(l head.Limits) {
	e.Engine.SetLimits(l)
	e.http2.SetLimits(l)
}

// Exchanges is how many requests are under way in both.
func (e *engine) Exchanges() int { return e.Engine.Exchanges() + e.http2.Exchanges() }
