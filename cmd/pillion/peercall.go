package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/sidecar"
)

// maxPeerAnswer is more than any sealed session.
const maxPeerAnswer = 2 << 20

// peerCaller posts the calls of one sidecar to another. It follows no redirect and uses no proxy: the address is the fleet's own.
func peerCaller() sidecar.Caller {
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return func(ctx context.Context, address, target, proof string, body []byte) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+target, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Pillion-Hop", proof)
		// A pooled connection that turns out to be dead is no silence of the peer: with this, which is not sent, net/http dials again. A call
		// that did arrive the first time is refused the second time, for its proof is used up.
		request.Header["Idempotency-Key"] = nil
		answer, err := client.Do(request)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return nil, sidecar.ErrRefused
		}
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%w: %s answered %s", sidecar.ErrDeclined, address, answer.Status)
		}
		return io.ReadAll(io.LimitReader(answer.Body, maxPeerAnswer))
	}
}

func peerAddresses(c *config.Config) map[string]string {
	addresses := map[string]string{}
	for _, p := range c.Peers {
		addresses[p.Route] = p.Address
	}
	return addresses
}
