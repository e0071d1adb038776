package h1

import (
	"sync"

	"github.com/pillion-proxy/pillion/internal/head"
)

// pool keeps connections to apps between requests. The one that came last goes first, so that those which a burst has left idle get old.
type pool struct {
	mu     sync.Mutex
	apps   map[app]*stack
	closed bool
}

type stack struct{ kept []*upstream }

// take returns nil when there is none.
func (p *pool) take(a app) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.apps[a]
	if s == nil || len(s.kept) == 0 {
		return nil
	}
	last := len(s.kept) - 1
	up := s.kept[last]
	s.kept[last] = nil
	s.kept = s.kept[:last]
	return up
}

// put keeps a connection whose last answer was read to its end.
func (p *pool) put(up *upstream, tick int64) {
	up.since = tick
	if !p.keep(up) {
		_ = up.nc.Close()
	}
}

func (p *pool) keep(up *upstream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.apps[up.app]
	if s == nil {
		s = &stack{}
		p.apps[up.app] = s
	}
	if p.closed || len(s.kept) >= head.UpstreamKept {
		return false
	}
	s.kept = append(s.kept, up)
	return true
}

// expire closes what came before a tick, and tells whether any is left.
func (p *pool) expire(before int64) (left bool) {
	var old []*upstream
	p.mu.Lock()
	for a, s := range p.apps {
		n := 0
		for n < len(s.kept) && s.kept[n].since < before {
			n++
		}
		old = append(old, s.kept[:n]...)
		s.kept = append(s.kept[:0], s.kept[n:]...)
		clear(s.kept[len(s.kept):cap(s.kept)])
		if len(s.kept) == 0 {
			delete(p.apps, a)
		} else {
			left = true
		}
	}
	p.mu.Unlock()
	for _, up := range old {
		_ = up.nc.Close()
	}
	return left
}

// close ends the pool and what is in it.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.expire(1 << 62)
}
