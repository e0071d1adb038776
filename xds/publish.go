package xds

import (
	"context"
	"errors"
	"log/slog"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds/server"
)

// publisher makes snapshots of what is known and publishes them, one at a time: what happens meanwhile is in the next one. Callbacks of
// streams only kick it, since they run under locks of the cache.
type publisher struct {
	registry *registry
	services func() *Services
	server   *server.Server
	metrics  *metrics.ControlPlane
	log      *slog.Logger

	kicked chan struct{}
	failed string // the last failure, so that it is logged once
	ready  chan struct{}
}

func (p *publisher) kick() {
	select {
	case p.kicked <- struct{}{}:
	default:
		p.metrics.Coalesced.Inc()
	}
}

// run publishes after the hold-off, until ctx ends.
func (p *publisher) run(ctx context.Context, holdOff time.Duration) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(holdOff):
		close(p.ready)
	}
	for {
		again := time.NewTimer(p.publish(time.Now()))
		select {
		case <-ctx.Done():
		case <-p.kicked:
		case <-again.C:
		}
		again.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// drainLook is how often it is looked whether a front that has just come has all: that it wants nothing is no event.
const drainLook = 250 * time.Millisecond

// never is until when nothing changes by itself.
const never = time.Hour

// publish returns after what time it must be called even if nothing happens.
func (p *publisher) publish(now time.Time) (again time.Duration) {
	members, next := p.registry.view(now)
	if again = never; !next.IsZero() {
		again = next.Sub(now)
	}
	services := p.services()
	fronts, err := build(services, members)
	if err == nil {
		err = p.server.Set(frontGroup, fronts)
	}
	p.report(err)
	opaque := peersOf(members)
	for name, ring := range services.ringsOf() {
		opaque[name] = ring
	}
	drains := drainsOf(members, func(app string) int {
		if err != nil {
			return max(1, p.server.Count(frontGroup)) // nobody was told
		}
		return p.behind(fronts, app)
	})
	for name, drain := range drains {
		opaque[name] = drain
	}
	p.metrics.Draining.Set(float64(len(drains)))
	if len(drains) > 0 {
		again = min(again, drainLook)
	}
	if err := p.server.Set(sidecarGroup, server.Resources{opaqueType: opaque}); err != nil {
		p.log.Error("what sidecars read could not be published", "error", err)
	}
	return again
}

// behind counts the fronts that know the app and have not accepted its assignment.
func (p *publisher) behind(fronts server.Resources, app string) int {
	c, served := fronts[resource.ClusterType][app].(*cluster.Cluster)
	if !served {
		return 0
	}
	return max(p.server.Behind(resource.ClusterType, app), p.server.Behind(resource.EndpointType, c.GetEdsClusterConfig().GetServiceName()))
}

// report says what could not be published, once: the last good is what fronts have.
func (p *publisher) report(err error) {
	switch {
	case err == nil:
		p.metrics.Rebuilds.WithLabelValues("ok").Inc()
		p.failed = ""
	case errors.Is(err, errNobody):
	default:
		p.metrics.Rebuilds.WithLabelValues("failed").Inc()
		if p.failed != err.Error() {
			p.log.Error("the new configuration of the fronts is wrong; the last good one stays", "error", err)
		}
		p.failed = err.Error()
	}
}
