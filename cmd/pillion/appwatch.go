package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/config"
)

const (
	// appCheck is how often the app is asked, and how long it may take.
	appCheck = time.Second
	// appAgain is when an app is asked again that has just failed: one failure may be a moment's, and two send its visitors elsewhere.
	appAgain = 100 * time.Millisecond
	appFails = 2
)

// appWatch knows whether the app takes requests (upstream_check).
type appWatch struct {
	upstream config.Upstream
	check    config.AppCheck
	changed  func()
	log      *slog.Logger

	up     atomic.Bool   // the last check was good, or there are none
	failed atomic.Int32  // checks in a row that failed
	kicked chan struct{} // look now
}

func newAppWatch(c *config.Config, changed func(), log *slog.Logger) *appWatch {
	return &appWatch{upstream: c.Upstream, check: c.UpstreamCheck, changed: changed, log: log, kicked: make(chan struct{}, 1)}
}

// away tells whether its visitors are better off elsewhere.
func (a *appWatch) away() bool { return a.failed.Load() >= appFails }

// kick has it looked at now: a request was refused.
func (a *appWatch) kick() {
	select {
	case a.kicked <- struct{}{}:
	default:
	}
}

// run looks until ctx ends.
func (a *appWatch) run(ctx context.Context) {
	if a.check.Off {
		a.up.Store(true)
		return
	}
	for first := true; ; {
		err := a.look(ctx)
		if ctx.Err() != nil {
			return
		}
		a.found(err)
		if err == nil && first {
			first = false
			a.warnExposed(ctx)
		}
		next := appCheck
		if n := a.failed.Load(); n > 0 && n < appFails {
			next = appAgain
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(next):
		case <-a.kicked:
		}
	}
}

// found notes how a look ended.
func (a *appWatch) found(err error) {
	away := a.away()
	a.up.Store(err == nil)
	if err == nil {
		a.failed.Store(0)
	} else {
		a.failed.Add(1)
	}
	if a.away() == away {
		return
	}
	if err != nil {
		a.log.Warn("the app does not take requests: its visitors go elsewhere", "error", err)
	}
	a.changed()
}

// look asks once, on a connection of its own.
func (a *appWatch) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, appCheck)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, a.upstream.Network, a.upstream.Address)
	}
	if a.check.Path == "" {
		conn, err := dial(ctx, "", "")
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	host := a.upstream.Address
	if a.upstream.Network == "unix" {
		host = "localhost"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+a.check.Path, nil)
	if err != nil {
		return err
	}
	client := http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode >= 400 {
		return fmt.Errorf("GET %s: %s", a.check.Path, answer.Status)
	}
	return nil
}

// warnExposed says when the app, which was found on loopback, answers on other addresses too (H9): who reaches it there can write the session
// fields himself.
func (a *appWatch) warnExposed(ctx context.Context) {
	at, err := netip.ParseAddrPort(a.upstream.Address)
	if a.upstream.Network != "tcp" || err != nil || !at.Addr().Unmap().IsLoopback() {
		return
	}
	own, err := ownAddresses()
	if err != nil {
		return
	}
	for _, address := range own {
		if address.Unmap().IsLoopback() || address.IsLinkLocalUnicast() {
			continue
		}
		elsewhere := netip.AddrPortFrom(address, at.Port()).String()
		conn, err := (&net.Dialer{Timeout: appCheck}).DialContext(ctx, "tcp", elsewhere)
		if err == nil {
			_ = conn.Close()
			a.log.Warn("the app can be reached around this sidecar, and believes whoever does: have it listen on 127.0.0.1 or on a Unix socket", "address", elsewhere)
			return
		}
	}
}
