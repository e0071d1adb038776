package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/pillion-proxy/pillion/sidecar"
)

// A peer that was killed leaves connections behind in the pool. The next call must learn that nobody listens any more, and not take it for
// silence, which would have to be fenced.
func TestCallOfAKilledPeer(t *testing.T) {
	var calls atomic.Int32
	var peer *httptest.Server
	peer = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 2 {
			_ = peer.Listener.Close()
			panic(http.ErrAbortHandler) // the connection ends without an answer
		}
		if r.Header.Get("Pillion-Hop") != "proof" || r.Header["Idempotency-Key"] != nil {
			t.Errorf("the call has %v", r.Header)
		}
	}))
	t.Cleanup(peer.Close)
	call, address := peerCaller(), peer.Listener.Addr().String()
	if _, err := call(t.Context(), address, "/target", "proof", []byte("body")); err != nil {
		t.Fatal(err)
	}
	if _, err := call(t.Context(), address, "/target", "proof", []byte("body")); !errors.Is(err, sidecar.ErrRefused) {
		t.Errorf("err = %v, want ErrRefused", err)
	}
	if n := calls.Load(); n != 2 {
		t.Errorf("%d calls arrived, want 2", n)
	}
}
