package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/xds"
)

// measureEndpoint opens the streams of sidecars, one after the other, and measures how long each takes to be an endpoint of a real Envoy:
// connecting and registering are in it, and up to half a millisecond of asking Envoy.
func measureEndpoint(l *lab, t *table) error {
	s := &site{lab: l, first: len(l.processes), ledger: newLedger()}
	defer s.end()
	if err := s.startPlane(); err != nil {
		return err
	}
	target := s.plane.says["listening on"]
	first, err := startStandIn(l, "a0")
	if err != nil {
		return err
	}
	defer func() { _ = first.server.Close() }()
	if err := first.register(target); err != nil {
		return err
	}
	defer func() { first.end() }()
	f, err := startEnvoy(s)
	if err != nil {
		return err
	}
	n := 40
	if l.short {
		n = 5
	}
	var opened, closed []time.Duration
	for i := range n {
		b := standIn{what: xds.Sidecar{App: "shop", Space: "shop", Route: fmt.Sprintf("b%d", i), Address: fmt.Sprintf("127.0.0.1:%d", 2000+i), Cookie: "psid"}}
		start := time.Now()
		if err := b.register(target); err != nil {
			return err
		}
		err := f.shows(s, b.what.Address, true)
		opened = append(opened, time.Since(start))
		if err == nil {
			start = time.Now()
			err = b.client.Drain(s.ctx)
			closed = append(closed, time.Since(start))
		}
		b.end()
		if err != nil {
			return err
		}
		select { // each is a change that comes alone
		case <-time.After(100 * time.Millisecond):
		case <-s.ctx.Done():
		}
	}
	t.add("stream open until endpoint in Envoy", fmt.Sprintf("p50 %s, max %s", ms(quantile(opened, 0.5)), ms(quantile(opened, 1))), "1 ms, 5 ms", fmt.Sprintf("%d sidecars", n))
	t.add("draining until Envoy knows", fmt.Sprintf("p50 %s, max %s", ms(quantile(closed, 0.5)), ms(quantile(closed, 1))), "", "as Envoy acknowledged it")
	return nil
}

// shows waits until Envoy has an endpoint, or has it no more.
func (f front) shows(s *site, address string, is bool) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) && s.ctx.Err() == nil {
		text, err := fetch("http://" + f.admin + "/clusters")
		if err != nil {
			return err
		}
		if strings.Contains(text, "::"+address+"::") == is {
			return nil
		}
	}
	return errors.New("Envoy does not show what happened to " + address)
}
