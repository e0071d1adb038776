package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pillion-proxy/pillion/xds"
)

// Ready tells whether what stands before this front should send visitors here.
func (p *frontProcess) Ready() (blocked, degraded []string) {
	if p.departure.leaving.Load() {
		blocked = append(blocked, "draining")
	}
	blocked = append(blocked, p.ports.blocked()...)
	if !p.front.Ready() {
		blocked = append(blocked, "no sidecar wants visitors")
	}
	for _, b := range p.front.Backends() {
		if !b.Serving() {
			degraded = append(degraded, "sidecar "+cmp.Or(b.Route, b.Address)+" is "+b.Health)
		}
	}
	if p.follower != nil {
		degraded = append(degraded, troubles(p.follower.Status())...)
	}
	return blocked, degraded
}

// troubles do not keep visitors away: the last good configuration serves them.
func troubles(s xds.FollowerStatus) (all []string) {
	if !s.Connected {
		all = append(all, fmt.Sprintf("control plane %s: %s", s.ControlPlane, s.Trouble))
	}
	for kind, why := range s.Rejected {
		all = append(all, "refused "+kind+": "+why)
	}
	slices.Sort(all)
	return all
}

// frontReport is what /status shows.
type frontReport struct {
	Version      string              `json:"version"`
	Started      time.Time           `json:"started"`
	Uptime       string              `json:"uptime"`
	Listening    []string            `json:"listening"`
	ControlPlane *xds.FollowerStatus `json:"control_plane,omitempty"`
	Backends     []backendReport     `json:"backends"`
}

type backendReport struct {
	App      string `json:"app,omitempty"`
	Route    string `json:"route"`
	Address  string `json:"address"`
	Health   string `json:"health"`
	Requests int64  `json:"requests"` // under way
}

// Status is what /status shows.
func (p *frontProcess) Status() any {
	r := frontReport{Version: version(), Started: p.started, Uptime: time.Since(p.started).Round(time.Second).String(), Listening: p.ports.addresses()}
	if p.follower != nil {
		status := p.follower.Status()
		r.ControlPlane = &status
	}
	for _, b := range p.front.Backends() {
		r.Backends = append(r.Backends, backendReport{b.App, b.Route, b.Address, b.Health, b.Requests})
	}
	return r
}
