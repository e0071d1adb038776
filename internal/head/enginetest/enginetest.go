// Package enginetest holds every HTTP engine to the same behaviour, over real sockets.
//
// Run is the behaviour suite: what an engine does with well-meant traffic, with failures and with a drain. Corpus is the hostile
// one: the rows of corpus/*.txt, each a request or an answer byte for byte with what the app and the client must see of it. RunHTTP2
// asks for the same over HTTP/2, Fuzz puts a random peer on each side, and Churn opens and closes connections and looks for what
// is left behind.
//
// An engine's own tests call these with a Build. They depend on nothing but package head.
package enginetest

import (
	"context"
	"net"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Engine is an HTTP engine as its owner sees it.
type Engine interface {
	// Serve accepts connections until Shutdown and returns nil then.
	Serve(l net.Listener) error
	// Drain asks clients to go elsewhere and serves on; Undrain takes it back.
	Drain()
	Undrain()
	// Shutdown serves what has arrived and closes everything; when ctx ends first, what is left is cut off.
	Shutdown(ctx context.Context) error
	SetLimits(head.Limits)
}

// Build makes an engine.
type Build func(head.EngineOptions) Engine
