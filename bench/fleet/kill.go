package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/xds"
)

// measureKill kills sidecars. What is under way there cannot be saved when it is a POST; behind a front that repeats what is safe nothing else
// may fail.
func measureKill(l *lab, t *table) error {
	kinds, err := l.kinds()
	for _, kind := range kinds {
		if kind.plane {
			err = errors.Join(err, l.kills(t, kind))
		}
	}
	return err
}

func (l *lab) kills(t *table, kind frontKind) error {
	s, err := l.startSite(kind.plane, kind.settings...)
	if err != nil {
		return err
	}
	defer s.end()
	f, err := kind.start(s)
	if err != nil {
		return err
	}
	c := gather(f.url, f.dial)
	var kills []span
	for i := range l.rounds {
		m := s.members[i%2]
		select { // a slow request shall not meet two kills
		case <-time.After(5 * slowTime):
		case <-s.ctx.Done():
		}
		began := time.Now()
		m.process.kill()
		kills = append(kills, span{began, time.Now()})
		if err = s.raise(m); err != nil {
			break
		}
	}
	c.disperse()
	if err != nil {
		return err
	}
	gets, under, posts := 0, 0, 0
	for _, f := range c.failures {
		switch {
		case f.method == http.MethodGet:
			gets++
		case f.during(kills):
			under++
		default:
			posts++
		}
	}
	t.add("kill -9 of a sidecar, behind "+kind.name, fmt.Sprintf("%d GET, %d POST, %d POST under way", gets, posts, under), "0, 0, any",
		fmt.Sprintf("%d requests, %d kills, %d lost, %d twice %s", c.requests.Load(), len(kills), c.lost.Load(), s.ledger.twice(), c.said()))
	return nil
}

type span struct{ begun, end time.Time }

// during tells whether the request was under way in one of those spans.
func (f failure) during(all []span) bool {
	return slices.ContainsFunc(all, func(s span) bool { return f.begun.Before(s.end) && f.end.After(s.begun) })
}

// late is how long after the control plane's restart its sidecars come back: within the hold-off, and long after Envoy.
const late = 2 * time.Second

// standIn is a server that registers as a sidecar does, and can be made late.
type standIn struct {
	server *http.Server
	what   xds.Sidecar
	client *xds.Client
	end    func()
}

// register holds a stream to a control plane until end.
func (b *standIn) register(target string) error {
	var err error
	b.client, err = xds.NewClient(xds.ClientOptions{
		Targets: []string{target}, Sidecar: b.what, Log: slog.New(slog.DiscardHandler), Changed: func(string, *structpb.Struct) error { return nil },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { b.client.Run(ctx) })
	b.end = func() { cancel(); run.Wait() }
	return nil
}

// startStandIn answers every request with the same.
func startStandIn(l *lab, route string) (*standIn, error) {
	port, err := l.freePort()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	b := &standIn{what: xds.Sidecar{App: "shop", Space: "shop", Route: route, Address: address, Cookie: "psid"}}
	b.server = &http.Server{Addr: address, ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, "0")
	})}
	go func() { _ = b.server.ListenAndServe() }()
	return b, until(l.ctx, address+" answers", func() error { _, err := fetch("http://" + address + "/"); return err })
}

// measureRestart kills the control plane and starts it again; Envoy is back at once, the sidecars late.
func measureRestart(l *lab, t *table) error {
	s := &site{lab: l, first: len(l.processes), ledger: newLedger()}
	defer s.end()
	if err := s.startPlane(); err != nil {
		return err
	}
	target := s.plane.says["listening on"]
	var all []*standIn
	defer func() {
		for _, b := range all {
			b.end()
			_ = b.server.Close()
		}
	}()
	for _, route := range []string{"a1", "a2"} {
		b, err := startStandIn(l, route)
		if err == nil {
			err = b.register(target)
		}
		if err != nil {
			return err
		}
		all = append(all, b)
	}
	f, err := startEnvoy(s)
	if err != nil {
		return err
	}
	c := gather(f.url, f.dial)
	rounds := max(1, l.rounds/5)
	for range rounds {
		if err = s.restartPlane(all, target); err == nil {
			err = c.more(s.ctx, 1000)
		}
		if err != nil {
			break
		}
	}
	c.disperse()
	t.add("control plane restarted, its sidecars 2 s late", fmt.Sprintf("%d failed", c.failed()), "0",
		fmt.Sprintf("%d requests, %d restarts %s", c.requests.Load(), rounds, c.said()))
	return err
}

func (s *site) restartPlane(sidecars []*standIn, target string) (err error) {
	for _, b := range sidecars {
		b.end()
	}
	s.plane.kill()
	if s.plane, err = s.start(true, s.pillion, s.planeAt...); err != nil {
		return err
	}
	select {
	case <-time.After(late):
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	for _, b := range sidecars {
		if err := b.register(target); err != nil {
			return err
		}
	}
	return until(s.ctx, "the control plane speaks", func() error {
		_, err := fetch("http://" + s.plane.says["admin on"] + "/ready")
		return err
	})
}
