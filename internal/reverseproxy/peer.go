package reverseproxy

import (
	"io"
	"net/http"
	"strings"
)

const (
	// peerPath is where sidecars talk to each other; the app never hears of it.
	peerPath = "/.well-known/pillion/peer"
	// maxPeerBody is more than any sealed session.
	maxPeerBody = 2 << 20
	// proofField carries what proves that a call comes from a sidecar of the same fleet.
	proofField = "Pillion-Hop"
)

// peer brings a call of another sidecar to the Handler's owner; ok is false for everything else, and for calls that nobody vouches for:
// those are refused like any path that does not exist.
func (e *Engine) peer(r *http.Request) (answer []byte, ok bool) {
	if e.options.Peer == nil || r.Method != http.MethodPost || !strings.HasPrefix(r.RequestURI, peerPath+"/") {
		return nil, false
	}
	proofs := r.Header.Values(proofField)
	if len(proofs) != 1 {
		return nil, false
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxPeerBody+1))
	if err != nil || len(body) > maxPeerBody {
		return nil, false
	}
	return e.options.Peer(r.Context(), r.RequestURI, proofs[0], body)
}
