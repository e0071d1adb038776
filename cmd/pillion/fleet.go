package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/xds"
)

// drainWithin bounds how long a leaving sidecar waits for its fronts. It is more than what a control plane takes to notice a front that
// is gone (8 s).
const drainWithin = 10 * time.Second

// appLook is how often a sidecar that is about to register looks whether its app is there.
const appLook = 20 * time.Millisecond

// fleet is what a sidecar has from its control planes, nil without any.
type fleet struct {
	p      *process
	client *xds.Client

	mu       sync.Mutex
	ring     []ring.Node          // "": the nodes of the settings
	draining map[string]bool      // by node: nodes that take no new sessions
	peers    map[string]string    // by route
	gone     map[string]time.Time // peers that left, and when
}

func newFleet(p *process, c *config.Config) (*fleet, error) {
	if len(c.ControlPlane) == 0 {
		return nil, nil
	}
	f := &fleet{p: p, peers: map[string]string{}, gone: map[string]time.Time{}}
	o := xds.ClientOptions{
		Targets: c.ControlPlane, Port: p.data.Addr().(*net.TCPAddr).Port, Changed: f.changed, Log: p.log,
		Sidecar: xds.Sidecar{
			App: c.App, Space: c.Space, Route: p.route, Address: c.Advertise, Cookie: c.Session.Cookie,
			Host: p.host, HealthPath: c.HealthPath, Version: version(),
		},
	}
	var err error
	if c.ControlPlaneTLS.Given() {
		if o.TLS, err = c.ControlPlaneTLS.Client(); err != nil {
			return nil, err
		}
	}
	f.client, err = xds.NewClient(o)
	return f, err
}

// run registers, the first time when the app takes requests: visitors come at once.
func (f *fleet) run(ctx context.Context) {
	if f == nil {
		return
	}
	tick := time.NewTicker(appLook)
	defer tick.Stop()
	for !f.p.app.up.Load() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	f.client.Run(ctx)
}

// setDraining tells the control planes whether visitors are to be sent elsewhere.
func (f *fleet) setDraining(draining bool) {
	if f != nil {
		f.client.SetDraining(draining)
	}
}

// waits says of each control plane what a drain waits for.
func (f *fleet) waits() map[string]string {
	if f == nil {
		return nil
	}
	return f.client.Waiting()
}

// leave returns when no front sends visitors here any more.
func (f *fleet) leave() {
	if f == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	start := time.Now()
	if err := f.client.Drain(ctx); err != nil {
		f.p.log.Warn("leaving without the word of all fronts", "error", err)
		return
	}
	f.p.log.Info("no front sends visitors here any more", "took_ms", float64(time.Since(start).Microseconds())/1000)
}

// away says with which control planes this sidecar is not registered.
func (f *fleet) away() (degraded []string) {
	if f == nil {
		return nil
	}
	for target, why := range f.client.Away() {
		degraded = append(degraded, strings.TrimSuffix("not registered with control plane "+target+": "+why, ": "))
	}
	return degraded
}

// changed takes what a control plane has for this sidecar.
func (f *fleet) changed(name string, value *structpb.Struct) error {
	c := f.p.current()
	switch name {
	case "ring/" + c.Space:
		return f.setRing(c, value)
	case "peers/" + c.App:
		f.setPeers(c, value)
	}
	return nil
}

// setRing replaces the nodes of the settings. An empty or wrong ring is refused, and the last good one stays.
func (f *fleet) setRing(c *config.Config, value *structpb.Struct) error {
	var entries []string
	draining := map[string]bool{}
	for _, v := range value.GetFields()["nodes"].GetListValue().GetValues() {
		n := v.GetStructValue().GetFields()
		name := n["name"].GetStringValue()
		entries = append(entries, name+"="+n["address"].GetStringValue())
		draining[name] = n["state"].GetStringValue() == "draining"
	}
	nodes, mistakes := ring.ParseNodes(entries)
	if len(mistakes) > 0 {
		return errors.Join(mistakes...)
	}
	if len(nodes) == 0 {
		return errors.New("an empty ring is not taken")
	}
	f.mu.Lock()
	f.ring, f.draining = nodes, draining
	f.mu.Unlock()
	return f.p.applyNodes(c)
}

// nodes are those of the control plane, marked as this machine sees them. A draining node is offered sessions like a local one, when no
// other is up: what it holds is read and moves away as it is written.
func (f *fleet) nodes(c *config.Config, host string) ([]ring.Node, error) {
	if f == nil {
		return ringNodes(c, host)
	}
	f.mu.Lock()
	nodes, draining := f.ring, f.draining
	f.mu.Unlock()
	if nodes == nil {
		return ringNodes(c, host)
	}
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	var locals []string // those that this ring has
	for _, name := range c.Ring.LocalNodes.Names {
		for _, n := range nodes {
			if n.Name == name {
				locals = append(locals, name)
			}
		}
	}
	marked, err := ring.MarkLocal(nodes, locals, c.Ring.LocalNodes.Auto, host, own)
	for i := range marked {
		marked[i].Local = marked[i].Local || draining[marked[i].Name]
	}
	return marked, err
}

// setPeers takes the other sidecars of the app. One that left is remembered for as long as a session can name it as its home: that it
// refuses connections is how a taker knows at once that it is gone.
func (f *fleet) setPeers(c *config.Config, value *structpb.Struct) {
	f.mu.Lock()
	now := time.Now()
	for route := range f.peers {
		if _, here := value.GetFields()[route]; here {
			delete(f.gone, route)
		} else if f.gone[route].IsZero() {
			f.gone[route] = now
		} else if now.Sub(f.gone[route]) > c.Session.Idle {
			delete(f.gone, route)
			delete(f.peers, route)
		}
	}
	leaving := map[string]bool{}
	for route, v := range value.GetFields() {
		peer := v.GetStructValue().GetFields()
		f.peers[route] = peer["address"].GetStringValue()
		leaving[route] = peer["draining"].GetBoolValue()
	}
	f.mu.Unlock()
	f.p.handler.SetLeaving(leaving)
	f.p.handler.SetPeers(f.addresses(c))
}

// addresses are the peers of the settings, and those that registered.
func (f *fleet) addresses(c *config.Config) map[string]string {
	all := peerAddresses(c)
	if f == nil {
		return all
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(all, f.peers)
	return all
}

// applyNodes gives the store the nodes in force.
func (p *process) applyNodes(c *config.Config) error {
	nodes, err := p.fleet.nodes(c, p.host)
	if err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	return p.store.SetNodes(nodes)
}
