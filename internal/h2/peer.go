package h2

import (
	"io"

	"github.com/pillion-proxy/pillion/internal/head"
)

// peer brings a call of another sidecar to the Handler's owner; ok is false for everything else, and for calls that nobody vouches for:
// those are refused like any path that does not exist.
func (e *Engine) peer(x *exchange) (answer []byte, ok bool) {
	proof, ok := head.IsPeerCall(x.Request.Method, x.Request.Target, x.Request.Fields)
	if !ok || e.options.Peer == nil {
		return nil, false
	}
	body, err := io.ReadAll(io.LimitReader(x.request.Body, head.MaxPeerBody+1))
	if err != nil || len(body) > head.MaxPeerBody {
		return nil, false
	}
	return e.options.Peer(x.Context, x.Request.Target, proof, body)
}
