package xds

import (
	"fmt"
	"time"
)

// lookEvery is how often the services file, and the files it names, are compared with what was read.
const lookEvery = 2 * time.Second

func (c *ControlPlane) watchServices() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.reloadIfStale()
		}
	}
}

// reloadIfStale takes what changed. A file with mistakes, or one under which those who are here could not be served, changes nothing; it is
// reported once.
func (c *ControlPlane) reloadIfStale() {
	old := c.services.Load()
	if !old.stale() {
		return
	}
	next, err := LoadServices(c.opts.Services)
	members, _ := c.registry.view(time.Now())
	if err == nil {
		if conflict := next.conflicts(members); conflict != nil {
			err = fmt.Errorf("services: %w", conflict)
		}
	}
	if err == nil {
		if _, conflict := build(next, members); conflict != nil && len(next.Apps) > 0 {
			err = conflict
		}
	}
	if err != nil {
		kept := *old
		kept.files = next.files // so that it is looked at again when it changes again
		c.services.Store(&kept)
		c.opts.Metrics.ServiceLoad.WithLabelValues("rejected").Inc()
		c.opts.Log.Error("the new services file is wrong; the old one stays", "error", err)
		return
	}
	c.services.Store(next)
	c.opts.Metrics.ServiceLoad.WithLabelValues("ok").Inc()
	c.opts.Log.Info("services file read", "apps", len(next.Apps))
	c.publisher.kick()
}
