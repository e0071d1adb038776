package xds

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pillion-proxy/pillion/xds/server"
)

// A control plane that leaves sends its fronts to another one, some at a time, so that the other is not asked by all of them at once. Sidecars
// stay: they hold a stream to each control plane, and it still knows the whole fleet when it comes back.
const (
	waves     = 10
	waveEvery = 100 * time.Millisecond
)

var errLeaving = status.Error(codes.Unavailable, "this control plane is leaving: use another one")

// Leave begins to send fronts away, and takes no new ones.
func (c *ControlPlane) Leave() {
	since := time.Now()
	if c.left.CompareAndSwap(nil, &since) {
		c.work.Go(func() { c.sendAway(&since) })
	}
}

// Stay takes Leave back.
func (c *ControlPlane) Stay() { c.left.Store(nil) }

// Fronting is how many streams fronts hold.
func (c *ControlPlane) Fronting() int { return c.server.Count(frontGroup) }

// turnsAway tells whether a front's stream is one that came after Leave.
func (c *ControlPlane) turnsAway(s server.Stream) bool {
	since := c.left.Load()
	return since != nil && s.Since.After(*since)
}

func (c *ControlPlane) sendAway(since *time.Time) {
	tick := time.NewTicker(waveEvery)
	defer tick.Stop()
	size := (c.Fronting() + waves - 1) / waves
	for c.left.Load() == since {
		left := size
		for _, s := range c.server.Streams() {
			if s.Group == frontGroup && left > 0 {
				c.server.End(s.ID, errLeaving)
				left--
			}
		}
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
	}
}
