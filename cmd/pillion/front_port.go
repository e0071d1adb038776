package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// portSpec is a port that a front serves.
type portSpec struct {
	name, address string
	secure        bool
	idle          time.Duration
	headerTimeout time.Duration
	accessLog     bool
}

// port is an open one.
type port struct {
	spec        portSpec
	listener    net.Listener
	engine      *engine
	certificate *atomic.Pointer[tls.Certificate]
}

// reopenEvery is how often a port is tried that somebody else has.
const reopenEvery = 250 * time.Millisecond

// ports are what a front serves on. All of them have one handler.
type ports struct {
	options head.EngineOptions // of every engine, but for what its port says
	failed  chan error         // serving ended unasked
	opened  func(*port)
	log     *slog.Logger

	mu           sync.Mutex
	wanted       []portSpec
	certificates map[string]*tls.Certificate // by name of the port
	open         map[string]*port
	closing      sync.WaitGroup
	trouble      map[string]error // why a wanted port is not open
	leaving      bool
	ended        bool // none is opened any more
}

// set makes these the ports, and returns why some of them are not open yet; they are tried again. What is under way on one that goes is finished.
func (p *ports) set(wanted []portSpec, certificates map[string]*tls.Certificate) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil
	}
	p.wanted, p.certificates = wanted, certificates
	return p.reconcile()
}

// run tries again what could not be opened, until ctx ends.
func (p *ports) run(ctx context.Context) {
	tick := time.NewTicker(reopenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.mu.Lock()
			if len(p.trouble) > 0 {
				_ = p.reconcile()
			}
			p.mu.Unlock()
		}
	}
}

// reconcile opens and closes. mu is held.
func (p *ports) reconcile() error {
	specs := map[string]portSpec{}
	for _, spec := range p.wanted {
		specs[spec.name] = spec
	}
	for name, open := range p.open {
		if specs[name] != open.spec {
			delete(p.open, name)
			p.closing.Go(func() { p.shut(open) })
		}
	}
	before := p.trouble
	p.trouble = map[string]error{}
	for name, spec := range specs {
		if p.open[name] == nil {
			if err := p.launch(spec); err != nil {
				p.trouble[name] = err
				if before[name] == nil {
					p.log.Warn("a port cannot be opened; it is tried again", "error", err)
				}
				continue
			}
		}
		p.open[name].certificate.Store(p.certificates[name])
	}
	var all []error
	for _, err := range p.trouble {
		all = append(all, err)
	}
	return errors.Join(all...)
}

func (p *ports) launch(spec portSpec) error {
	l, err := listen("listen", spec.address)
	if err != nil {
		return err
	}
	o := p.options
	o.AccessLog = spec.accessLog
	if spec.idle > 0 {
		o.Limits.Idle = spec.idle
	}
	if spec.headerTimeout > 0 {
		o.Limits.HeaderTimeout = spec.headerTimeout
	}
	opened := &port{spec: spec, listener: l, certificate: new(atomic.Pointer[tls.Certificate])}
	if spec.secure {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: opened.present}
	}
	opened.certificate.Store(p.certificates[spec.name])
	opened.engine = newEngine(o, false)
	if p.leaving {
		opened.engine.Drain()
	}
	p.open[spec.name] = opened
	go serveOn(p.failed, "data", opened.engine.Serve, l)
	p.opened(opened)
	return nil
}

func (o *port) present(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return o.certificate.Load(), nil
}

func (p *ports) shut(o *port) {
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := o.engine.Shutdown(ctx); err != nil {
		p.log.Warn("requests were cut off", "address", o.spec.address, "error", err)
	}
}

// leave has what stands before this front send visitors elsewhere, or here again. It serves all the same.
func (p *ports) leave(leave bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaving = leave
	for _, open := range p.open {
		if leave {
			open.engine.Drain()
		} else {
			open.engine.Undrain()
		}
	}
}

// exchanges are the requests under way.
func (p *ports) exchanges() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, open := range p.open {
		n += open.engine.Exchanges()
	}
	return n
}

// blocked are the reasons why not every port is served.
func (p *ports) blocked() (reasons []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, err := range p.trouble {
		reasons = append(reasons, err.Error())
	}
	if len(p.wanted) == 0 {
		reasons = append(reasons, "no control plane has said yet what to serve")
	}
	return reasons
}

// addresses are the open ones.
func (p *ports) addresses() (all []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, open := range p.open {
		all = append(all, open.listener.Addr().String())
	}
	return all
}

// shutdown finishes what is under way on all of them.
func (p *ports) shutdown() {
	_ = p.set(nil, nil)
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.closing.Wait()
}
