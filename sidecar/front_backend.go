package sidecar

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backend is a sidecar as a front knows it.
type Backend struct {
	Route    string // "" while nobody has told it
	Address  string // host:port of its data listener
	Draining bool   // it is known to want no visitors, whatever it says itself
}

// BackendStatus is what a front knows about a sidecar now.
type BackendStatus struct {
	App string
	Backend
	Health   string // serving, leaving, or gone
	Requests int64  // under way
}

const (
	probeEvery  = time.Second
	missesToEnd = 2 // a busy sidecar may be late once
)

// health orders the backends: a request goes to the least of them.
type health int32

const (
	serving health = iota
	leaving        // answers that it wants no visitors: draining, or without its app
	gone           // does not answer
)

func (h health) String() string { return [...]string{"serving", "leaving", "gone"}[h] }

// backend is a Backend of one Site, with what outlives the Site.
type backend struct {
	Backend
	app  string
	sent prometheus.Counter
	*vitals
}

type vitals struct {
	probed   atomic.Int32 // the health that was seen
	requests atomic.Int64 // under way
	awaited  awaited      // of them, those without an answer
	misses   int          // probes without an answer in a row; used by the prober alone
}

func (b *backend) health() health {
	seen := health(b.probed.Load())
	if b.Draining {
		return max(seen, leaving)
	}
	return seen
}

// name is how metrics and logs call it.
func (b *backend) name() string { return cmp.Or(b.Route, b.Address) }

// compare orders backends for a visitor with that home, the best first.
func (b *backend) compare(other *backend, home string) int {
	away := func(b *backend) int64 {
		if b.Address == home {
			return -1
		}
		return b.requests.Load()
	}
	return cmp.Or(cmp.Compare(b.health(), other.health()), cmp.Compare(away(b), away(other)))
}

// SetSite replaces what is served; when it returns, no new request goes by what was before. A sidecar that stays keeps its counters, and what is
// under way to one that leaves is not disturbed. A new one is taken to be well until it proves otherwise: refusing costs a visitor nothing.
func (f *Front) SetSite(next Site) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.site.Load()
	after := &site{normalPaths: next.NormalPaths, fleets: map[string]*fleet{}}
	after.index(next.Hosts)
	for _, app := range next.Apps {
		fl := &fleet{App: app, at: map[string]*backend{}, named: map[string]bool{}}
		for _, entry := range app.Backends {
			b := f.backend(app.Name, entry, before.fleets[app.Name])
			fl.backends, fl.at[b.Address], fl.named[b.name()] = append(fl.backends, b), b, true
		}
		after.fleets[app.Name] = fl
	}
	f.site.Store(after)
	f.part(before, after)
	for b := range after.all() {
		f.opts.Metrics.BackendUp.WithLabelValues(b.app, b.name()).Set(b.up())
	}
}

// backend is entry with the vitals that it had.
func (f *Front) backend(app string, entry Backend, before *fleet) *backend {
	b := &backend{Backend: entry, app: app, vitals: &vitals{}}
	b.sent = f.opts.Metrics.Requests.WithLabelValues(app, b.name())
	if before != nil {
		if was := before.at[entry.Address]; was != nil {
			b.vitals = was.vitals
		}
	}
	return b
}

// all are the backends of every app.
func (s *site) all() iter.Seq[*backend] {
	return func(yield func(*backend) bool) {
		for _, fl := range s.fleets {
			for _, b := range fl.backends {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// names tells whether a backend of the app has that name.
func (s *site) names(app, name string) bool {
	fl := s.fleets[app]
	return fl != nil && fl.named[name]
}

// now returns the backend as this site has it.
func (s *site) now(b *backend) (*backend, bool) {
	for other := range s.all() {
		if other.vitals == b.vitals {
			return other, true
		}
	}
	return b, false
}

// Backends tells about each sidecar, in the order of apps and routes.
func (f *Front) Backends() []BackendStatus {
	var all []BackendStatus
	for b := range f.site.Load().all() {
		all = append(all, BackendStatus{b.app, b.Backend, b.health().String(), b.requests.Load()})
	}
	slices.SortFunc(all, func(a, b BackendStatus) int {
		return cmp.Or(strings.Compare(a.App, b.App), strings.Compare(a.Route, b.Route), strings.Compare(a.Address, b.Address))
	})
	return all
}

// Serving tells whether the sidecar wants visitors.
func (s BackendStatus) Serving() bool { return s.Health == serving.String() }

// Ready tells whether any sidecar wants visitors.
func (f *Front) Ready() bool {
	for b := range f.site.Load().all() {
		if b.health() == serving {
			return true
		}
	}
	return false
}

// Run probes every backend each second until ctx ends.
func (f *Front) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		var probes sync.WaitGroup
		for _, fl := range f.site.Load().fleets {
			for _, b := range fl.backends {
				b.awaited.look()
				probes.Go(func() { f.probe(ctx, b, fl.App) })
			}
		}
		for _, d := range f.waitedFor() {
			probes.Go(func() { f.probe(ctx, d.backend, d.app) })
		}
		probes.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// probe is the way back for a backend that was marked gone, and the only way to leaving and out of it.
func (f *Front) probe(ctx context.Context, b *backend, app App) {
	asking, cancel := context.WithTimeout(ctx, cmp.Or(app.HealthTimeout, probeEvery))
	defer cancel()
	asked := time.Now()
	ready, err := f.opts.Probe(asking, b.Address, app.HealthPath)
	if ctx.Err() != nil {
		return
	}
	f.heard(b, asked, err)
	if err == nil {
		b.misses = 0
	} else {
		b.misses++
	}
	switch {
	case err == nil && ready:
		f.mark(b, serving)
	case err == nil:
		f.mark(b, leaving)
	case errors.Is(err, ErrRefused) || b.misses >= missesToEnd:
		f.mark(b, gone)
	}
}

// mark notes what was seen of a sidecar. One that drains is as it says, and no news.
func (f *Front) mark(b *backend, seen health) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := health(b.probed.Swap(int32(seen)))
	if was == seen {
		return
	}
	b, there := f.site.Load().now(b)
	if !there {
		return
	}
	f.opts.Metrics.BackendUp.WithLabelValues(b.app, b.name()).Set(b.up())
	if !b.Draining {
		f.opts.Log.Warn("a sidecar changed", "app", b.app, "route", b.Route, "address", b.Address, "was", was.String(), "is", seen.String())
	}
}

func (b *backend) up() float64 {
	if b.health() == serving {
		return 1
	}
	return 0
}
