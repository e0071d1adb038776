package xds

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds/server"
)

// publisher makes snapshots of what is known and publishes them, one at a time: what happens meanwhile is in the next one. Callbacks of
// streams only wake it, since they run under locks of the cache.
type publisher struct {
	registry *registry
	services func() *Services
	server   *server.Server
	metrics  *metrics.ControlPlane
	log      *slog.Logger

	kicked  chan struct{} // something changed
	acked   chan struct{} // a front accepted something: a sidecar may be waiting for that
	pending atomic.Bool   // a change is not published yet
	failed  string        // the last failure, so that it is logged once
	ready   chan struct{}

	pace pace // run's own, as is what follows
	last published
}

// published is what the last publication was made of.
type published struct {
	members []member
	rings   named
	fronts  server.Resources
	err     error // the fronts have an older one
}

func newPublisher(r *registry, services func() *Services, s *server.Server, m *metrics.ControlPlane, log *slog.Logger) *publisher {
	return &publisher{
		registry: r, services: services, server: s, metrics: m, log: log,
		kicked: make(chan struct{}, 1), acked: make(chan struct{}, 1), ready: make(chan struct{}),
	}
}

func (p *publisher) kick() {
	if p.pending.Swap(true) {
		p.metrics.Coalesced.Inc()
	}
	wake(p.kicked)
}

// ack is told that a front accepted something, or is gone.
func (p *publisher) ack() { wake(p.acked) }

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pace lets four publications go at once, and of more at most four in each window: a fleet that starts, or a hundred sidecars that change within
// a moment, cost a front a few pushes, and a change that comes alone costs no wait. Where a publication takes long, none follows before as
// much time has passed again.
type pace struct {
	begun [4]time.Time // the last four, the oldest first
	after time.Time
}

const paceWindow = 60 * time.Millisecond

// wait is how long the next publication has to.
func (p *pace) wait(now time.Time) time.Duration {
	return max(0, p.begun[0].Add(paceWindow).Sub(now), p.after.Sub(now))
}

// note is told of each publication, when it ends.
func (p *pace) note(begun, ended time.Time) {
	copy(p.begun[:], p.begun[1:])
	p.begun[len(p.begun)-1] = begun
	if took := ended.Sub(begun); took > paceWindow/4 {
		p.after = ended.Add(took)
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
	next := time.NewTimer(p.publish(time.Now()))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.acked:
			p.tellSidecars()
		case <-p.kicked:
			next.Reset(p.pace.wait(time.Now()))
		case <-next.C:
			next.Reset(p.publish(time.Now()))
		}
	}
}

// drainLook is how often it is looked whether a front that has just come has all: that it wants nothing is no event.
const drainLook = 250 * time.Millisecond

// never is until when nothing changes by itself.
const never = time.Hour

// publish returns after what time it must be called even if nothing happens.
func (p *publisher) publish(now time.Time) (again time.Duration) {
	p.pending.Store(false) // what changes from here on is in the next one
	begun := time.Now()
	defer func() { p.pace.note(begun, time.Now()) }()
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
	p.last = published{members, services.ringsOf(), fronts, err}
	if draining := p.tellSidecars(); draining > 0 {
		again = min(again, drainLook)
	}
	return again
}

// tellSidecars publishes what sidecars read: of the members as they were published to the fronts, for a drain is acknowledged when the fronts
// have that. It returns how many drain.
func (p *publisher) tellSidecars() (draining int) {
	opaque := peersOf(p.last.members)
	maps.Copy(opaque, p.last.rings)
	drains := drainsOf(p.last.members, func(app string) int {
		if p.last.err != nil {
			return max(1, p.server.Count(frontGroup)) // nobody was told
		}
		return p.behind(p.last.fronts, app)
	})
	maps.Copy(opaque, drains)
	p.metrics.Draining.Set(float64(len(drains)))
	if err := p.server.Set(sidecarGroup, server.Resources{opaqueType: opaque}); err != nil {
		p.log.Error("what sidecars read could not be published", "error", err)
	}
	return len(drains)
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
