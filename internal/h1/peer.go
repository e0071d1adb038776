package h1

import (
	"errors"
	"io"
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

// peer brings a call of another sidecar to the Handler's owner. nil for everything else, and for calls that nobody vouches for: those are
// refused like any path that does not exist.
func (x *exchange) peer() *head.Reply {
	e := x.c.engine
	proof, ok := head.IsPeerCall(x.Request.Method, x.Request.Target, x.Request.Fields)
	if !ok || e.options.Peer == nil {
		return nil
	}
	call, ok := x.wholeBody(head.MaxPeerBody)
	if !ok {
		return nil
	}
	answer, ok := e.options.Peer(x.Context, x.Request.Target, proof, call)
	if !ok {
		return nil
	}
	return &head.Reply{Status: http.StatusOK, Body: string(answer), Fields: head.Fields{{Name: "Cache-Control", Value: "no-store"}}}
}

// wholeBody reads a body for the engine's own use.
func (x *exchange) wholeBody(most int) ([]byte, bool) {
	if x.whole != nil {
		return x.whole, true
	}
	if x.asked.expect != "" {
		return nil, false
	}
	x.c.uploading.Store(true) // nobody else reads the client
	x.c.unwatch(handling)
	defer x.c.uploading.Store(false)
	var all []byte
	for {
		part, err := x.body.next()
		if errors.Is(err, io.EOF) {
			return all, true
		}
		if all = append(all, part...); err != nil || len(all) > most {
			return nil, false
		}
	}
}
