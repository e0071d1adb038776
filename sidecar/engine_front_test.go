package sidecar_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/h1"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/sidecar"
)

// dialing opens a connection to a backend of a front.
type dialing func(ctx context.Context, network, address string) (net.Conn, error)

// startFront serves a front, with an engine of its own, before the sidecars with those routes.
func startFront(t testing.TB, cookie string, dial dialing, routes ...string) *listener {
	front := sidecar.NewFront(sidecar.FrontOptions{
		Probe: probing(dial), IntN: rand.IntN, Metrics: metrics.NewFront(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	site := siteOf(fleetOf(routes...))
	site.Hosts[0].Routes[0].Cookie = cookie
	front.SetSite(site)
	engine, l := h1.New(h1.Options{EngineOptions: head.EngineOptions{Handler: front, Dial: dial}}), newListener()
	ctx, cancel := context.WithCancel(context.Background())
	go front.Run(ctx)
	go func() { _ = engine.Serve(l) }()
	t.Cleanup(func() {
		over, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = engine.Shutdown(over)
		cancel()
	})
	return l
}

// before puts a front before those sidecars. Its visitors take it for one of them.
func before(f *fleet, l *links, sidecars ...*process) *process {
	var routes []string
	for _, s := range sidecars {
		routes = append(routes, s.setup.Route)
	}
	listener := startFront(f.t, sidecars[0].setup.Cookie.Name, func(ctx context.Context, network, address string) (net.Conn, error) {
		l.mu.Lock()
		to, dead := l.to[strings.TrimSuffix(address, ":80")], l.dead[strings.TrimSuffix(address, ":80")]
		l.mu.Unlock()
		if dead {
			return nil, syscall.ECONNREFUSED
		}
		return to.listener.dial(ctx, network, address)
	}, routes...)
	client := &http.Transport{DisableCompression: true, DialTLSContext: listener.dial}
	f.t.Cleanup(client.CloseIdleConnections)
	return &process{f: f, setup: sidecars[0].setup, client: client}
}

// probing asks for the health path.
func probing(dial dialing) sidecar.Prober {
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	return func(ctx context.Context, address, _ string) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/.well-known/pillion/ready", nil)
		if err != nil {
			return false, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return false, sidecar.ErrRefused
		}
		_ = resp.Body.Close()
		return resp.StatusCode == 200, nil
	}
}

// Visitors of a front stay with the sidecar that holds their session, and change it when it drains or dies. No session is lost.
func TestFrontOverTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, all := family(f, "a1", "a2")
		front := before(f, l, all...)
		var visitors []*visitor
		for range 20 {
			v := front.visitor()
			v.get(patch(`{"n":1}`))
			visitors = append(visitors, v)
		}
		homes := func() map[string]int {
			count := map[string]int{}
			for _, v := range visitors {
				v.must(`{"n":1}`)
				count[v.parsed().Route]++
			}
			return count
		}
		if got := homes(); got["a1"] == 0 || got["a2"] == 0 {
			t.Errorf("homes %v", got)
		}
		taken := all[0].counted("session_events_total", "event", "takeover") + all[0].counted("session_events_total", "event", "forwarded")
		if homes(); taken != all[0].counted("session_events_total", "event", "takeover")+all[0].counted("session_events_total", "event", "forwarded") {
			t.Error("a request missed its home")
		}

		l.set(func() { l.dead["a1"] = true })
		all[0].kill()
		if got := homes(); got["a2"] != 20 {
			t.Errorf("after a1 died the homes are %v", got)
		}
	})
}

// A draining sidecar keeps what is under way and gets nothing new; a front notices within a second.
func TestFrontSeesADrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, all := family(f, "a1", "a2")
		front := before(f, l, all...)
		v := front.visitor()
		for v.get(patch(`{"n":1}`)); v.parsed().Route != "a1"; v.get(patch(`{"n":1}`)) {
			v = front.visitor()
		}
		do, arrived, goOn := held(patch(`{"m":2}`))
		done := make(chan *answer)
		go func() { done <- v.ask("POST", "/", do) }()
		<-arrived
		all[0].engine.Drain()
		wait(1100 * time.Millisecond)
		other := front.visitor()
		for range 5 {
			if other.get(patch(`{"n":1}`)); other.parsed().Route != "a2" {
				t.Errorf("a new visitor went to %s", other.parsed().Route)
			}
		}
		close(goOn)
		if a := <-done; a.StatusCode != 200 {
			t.Errorf("%d for what was under way", a.StatusCode)
		}
		v.must(`{"m":2,"n":1}`)
	})
}

// Sidecars are killed and come back while visitors ask. A GET never fails; a POST may, and is never executed twice.
func TestFrontUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackends(t, 3)
		front := b.front()
		var gets, posts, failed atomic.Int64
		ctx, stop := context.WithCancel(context.Background())
		var load sync.WaitGroup
		for i := range 12 {
			load.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					wait(time.Duration(20+i) * time.Millisecond)
					if i%2 == 0 {
						gets.Add(1)
						if status := front.send("GET", i, n); status != 200 {
							t.Errorf("a GET got %d", status)
						}
						continue
					}
					posts.Add(1)
					if status := front.send("POST", i, n); status != 200 {
						failed.Add(1)
					}
				}
			})
		}
		for range 3 {
			for i := range b.all {
				b.all[i].kill()
				wait(500 * time.Millisecond)
				b.all[i].start()
				wait(1200 * time.Millisecond)
			}
		}
		stop()
		load.Wait()
		twice := 0
		b.executed.Range(func(key, n any) bool {
			if n := n.(*atomic.Int64).Load(); n > 1 && strings.HasPrefix(key.(string), "POST") {
				t.Errorf("%s was executed %d times", key, n)
			} else if n > 1 {
				twice++
			}
			return true
		})
		t.Logf("%d GETs, %d of them executed twice; %d POSTs, %d failed", gets.Load(), twice, posts.Load(), failed.Load())
		if failed.Load() == 0 || twice == 0 {
			t.Error("no kill met a request")
		}
	})
}
