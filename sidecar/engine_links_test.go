package sidecar_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

// links carry the calls between sidecars, and can be cut.
type links struct {
	mu    sync.Mutex
	to    map[string]*process
	dead  map[string]bool // refuses connections
	cut   map[string]bool // "a1>a2": silent
	down  map[string]bool // its app refuses connections
	deaf  bool            // nothing can be forwarded; calls to release a session are heard, and their answers are lost
	calls []call

	refused []string // sidecars that were told so
}

type call struct {
	from, to, target, proof string
	body                    []byte
}

// family starts sidecars that know each other.
func family(f *fleet, routes ...string) (*links, []*process) {
	return familyLike(f, func(*setup) {}, routes...)
}

func familyLike(f *fleet, change func(*setup), routes ...string) (*links, []*process) {
	l := &links{to: map[string]*process{}, dead: map[string]bool{}, cut: map[string]bool{}, down: map[string]bool{}}
	addresses := map[string]string{}
	for _, route := range routes {
		addresses[route] = route + ":80"
	}
	var all []*process
	for _, route := range routes {
		p := f.sidecar(route, change, func(s *setup) {
			s.Sticky, s.Call, s.http.Dial = true, l.caller(route), l.dialer(f, route)
			s.AppRefused = func() { l.set(func() { l.refused = append(l.refused, route) }) }
		})
		l.mu.Lock()
		l.to[route] = p
		l.mu.Unlock()
		all = append(all, p)
	}
	for _, p := range all {
		p.SetPeers(addresses)
	}
	wait(time.Second) // the first look for a fence
	return l, all
}

func (l *links) caller(from string) sidecar.Caller {
	return func(ctx context.Context, address, target, proof string, body []byte) ([]byte, error) {
		address = strings.TrimSuffix(address, ":80")
		l.mu.Lock()
		deaf := l.deaf && strings.HasSuffix(target, "release")
		p, dead, cut := l.to[address], l.dead[address], l.cut[from+">"+address]
		l.calls = append(l.calls, call{from, address, target, proof, body})
		l.mu.Unlock()
		wait(time.Millisecond)
		switch {
		case dead:
			return nil, sidecar.ErrRefused
		case cut:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		answer, ok := p.Peer(ctx, target, proof, body)
		if deaf {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s answers 404", sidecar.ErrDeclined, address)
		}
		return answer, nil
	}
}

// dialer leads to the app, and forwarded requests to the other sidecars.
func (l *links) dialer(f *fleet, from string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		address = strings.TrimSuffix(address, ":80")
		l.mu.Lock()
		p, dead, cut, down := l.to[address], l.dead[address] || l.deaf, l.cut[from+">"+address], l.down[from]
		l.mu.Unlock()
		switch {
		case p == nil && down:
			return nil, syscall.ECONNREFUSED
		case p == nil:
			return f.app.listener.dial(ctx, network, address)
		case dead:
			return nil, syscall.ECONNREFUSED
		case cut:
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return p.listener.dial(ctx, network, address)
	}
}

func (l *links) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}
