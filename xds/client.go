package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"google.golang.org/protobuf/types/known/structpb"
)

// ClientOptions configure a Client. Every field is needed unless its comment says otherwise.
type ClientOptions struct {
	Targets []string    // every control plane, HOST:PORT: each derives its view from its own streams
	TLS     *tls.Config // nil for plain TCP
	Sidecar Sidecar     // Address may be empty: then it is the local address of each connection, with Port
	Port    int
	// Changed is told a new value of peers/<app> or ring/<space>, one at a time. An error rejects it, and the control plane shows why. Of
	// several control planes the newest word counts; what is removed, or was said before all of them went away, stays.
	Changed func(name string, value *structpb.Struct) error
	Log     *slog.Logger
}

// Client announces a sidecar to its control planes and reads what they have for it. While none answers, the last good stays.
type Client struct {
	opts  ClientOptions
	links []*link
	drain string // the resource that tells whether visitors still come

	mu      sync.Mutex
	sidecar Sidecar
	changed chan struct{} // closed and replaced when a link changes
	deliver sync.Mutex    // one Changed at a time
}

// NewClient returns a client that does nothing before Run.
func NewClient(opts ClientOptions) (*Client, error) {
	c := &Client{opts: opts, sidecar: opts.Sidecar, drain: "drain/" + opts.Sidecar.Route, changed: make(chan struct{})}
	if len(opts.Targets) == 0 {
		return nil, errors.New("xds: no control plane is named")
	}
	for _, target := range opts.Targets {
		c.links = append(c.links, &link{client: c, target: target, news: make(chan struct{}, 1)})
	}
	return c, nil
}

// Run holds a stream to every control plane until ctx ends. Call it when the sidecar's listener and its app accept connections: the first
// visitors come at once.
func (c *Client) Run(ctx context.Context) {
	var links sync.WaitGroup
	for _, l := range c.links {
		links.Go(func() { l.run(ctx) })
	}
	links.Wait()
}

// SetDraining tells all control planes whether this sidecar takes new visitors.
func (c *Client) SetDraining(draining bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sidecar.Draining == draining {
		return
	}
	c.sidecar.Draining = draining
	for _, l := range c.links {
		l.drained, l.behind = false, 0
		select {
		case l.news <- struct{}{}:
		default:
		}
	}
}

// Drain reports draining and returns when every control plane that is connected says that no front sends visitors here any more. A control
// plane that is away is not waited for.
func (c *Client) Drain(ctx context.Context) error {
	c.SetDraining(true)
	for {
		waiting, changed := c.waiting()
		if len(waiting) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("xds: fronts of %v have not acknowledged the drain: %w", waiting, context.Cause(ctx))
		case <-changed:
		}
	}
}

// Waiting says of each control plane whose word is out what it waits for.
func (c *Client) Waiting() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := map[string]string{}
	for _, l := range c.links {
		switch {
		case !c.sidecar.Draining || !l.connected || l.drained:
		case l.behind == 0:
			waiting[l.target] = "its fronts have not acknowledged"
		default:
			waiting[l.target] = fmt.Sprintf("%d fronts have not acknowledged", l.behind)
		}
	}
	return waiting
}

// waiting returns the control planes whose word is still out, and a channel that is closed at the next change.
func (c *Client) waiting() (targets []string, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.links {
		if l.connected && !l.drained {
			targets = append(targets, l.target)
		}
	}
	return targets, c.changed
}

// Away returns the control planes with which this sidecar is not registered, and why not.
func (c *Client) Away() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	away := map[string]string{}
	for _, l := range c.links {
		if !l.registered {
			away[l.target] = l.trouble
		}
	}
	return away
}

// announce returns what is said on a connection with that local address.
func (c *Client) announce(localIP string) Sidecar {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sidecar
	if s.Address == "" {
		s.Address = joinPort(localIP, c.opts.Port)
	}
	return s
}

// update changes a link and wakes who waits.
func (c *Client) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}

// take handles one resource.
func (c *Client) take(l *link, name string, value *structpb.Struct) error {
	if name == c.drain {
		c.update(func() {
			l.drained, l.behind = value.GetFields()["drained"].GetBoolValue(), int(value.GetFields()["behind"].GetNumberValue())
		})
		return nil
	}
	c.deliver.Lock()
	defer c.deliver.Unlock()
	return c.opts.Changed(name, value)
}

// names are the resources that a sidecar reads.
func (c *Client) names() []string {
	return []string{"peers/" + c.opts.Sidecar.App, "ring/" + c.opts.Sidecar.Space, c.drain}
}
