package sidecar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backend is a sidecar as a front knows it.
type Backend struct {
	Route   string
	Address string // host:port of its data listener
}

// BackendStatus is what a front knows about a sidecar now.
type BackendStatus struct {
	Backend
	Health   string // serving, leaving, or gone
	Requests int64  // under way
}

const (
	probeEvery  = time.Second // also what a probe may take
	missesToEnd = 2           // a busy sidecar may be late once
)

// health orders the backends: a request goes to the least of them.
type health int32

const (
	serving health = iota
	leaving        // answers that it wants no visitors: draining, or without its app
	gone           // does not answer
)

func (h health) String() string { return [...]string{"serving", "leaving", "gone"}[h] }

type backend struct {
	Backend
	health   atomic.Int32
	requests atomic.Int64 // under way
	sent     prometheus.Counter
	misses   int // probes without an answer in a row; used by the prober alone
}

// compare orders backends for a visitor of that route, the best first.
func (b *backend) compare(other *backend, route string) int {
	away := func(b *backend) int64 {
		if b.Route == route {
			return -1
		}
		return b.requests.Load()
	}
	return cmp.Or(cmp.Compare(b.health.Load(), other.health.Load()), cmp.Compare(away(b), away(other)))
}

// SetBackends replaces the fleet. A backend that stays keeps its counters, and what is under way to one that leaves is not disturbed. A new
// one is taken to be well until it proves otherwise: refusing costs a visitor nothing.
func (f *Front) SetBackends(fleet []Backend) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := *f.backends.Load()
	after := make([]*backend, 0, len(fleet))
	for _, entry := range fleet {
		i := slices.IndexFunc(before, func(b *backend) bool { return b.Backend == entry })
		if i >= 0 {
			after = append(after, before[i])
			continue
		}
		after = append(after, &backend{Backend: entry, sent: f.opts.Metrics.Requests.WithLabelValues(entry.Route)})
		f.opts.Metrics.BackendUp.WithLabelValues(entry.Route).Set(1)
	}
	f.backends.Store(&after)
	for _, b := range before {
		if !slices.ContainsFunc(after, func(stays *backend) bool { return stays.Route == b.Route }) {
			f.opts.Metrics.BackendUp.DeleteLabelValues(b.Route)
		}
	}
}

// Backends tells about each sidecar, in the order of their routes.
func (f *Front) Backends() []BackendStatus {
	var all []BackendStatus
	for _, b := range *f.backends.Load() {
		all = append(all, BackendStatus{b.Backend, health(b.health.Load()).String(), b.requests.Load()})
	}
	slices.SortFunc(all, func(a, b BackendStatus) int { return strings.Compare(a.Route, b.Route) })
	return all
}

// Serving tells whether the sidecar wants visitors.
func (s BackendStatus) Serving() bool { return s.Health == serving.String() }

// Ready tells whether any sidecar wants visitors.
func (f *Front) Ready() bool {
	return slices.ContainsFunc(*f.backends.Load(), func(b *backend) bool { return health(b.health.Load()) == serving })
}

// Run probes every backend each second until ctx ends.
func (f *Front) Run(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		var probes sync.WaitGroup
		for _, b := range *f.backends.Load() {
			probes.Go(func() { f.probe(ctx, b) })
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
func (f *Front) probe(ctx context.Context, b *backend) {
	asking, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	ready, err := f.opts.Probe(asking, b.Address)
	if err == nil {
		b.misses = 0
	} else {
		b.misses++
	}
	switch {
	case ctx.Err() != nil:
	case err == nil && ready:
		f.mark(b, serving)
	case err == nil:
		f.mark(b, leaving)
	case errors.Is(err, ErrRefused) || b.misses >= missesToEnd:
		f.mark(b, gone)
	}
}

func (f *Front) mark(b *backend, now health) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := health(b.health.Swap(int32(now)))
	if was == now || !slices.Contains(*f.backends.Load(), b) { // another one may have its route by now
		return
	}
	f.opts.Metrics.BackendUp.WithLabelValues(b.Route).Set(map[health]float64{serving: 1}[now])
	f.opts.Log.Warn("a sidecar changed", "route", b.Route, "address", b.Address, "was", was.String(), "is", now.String())
}
