package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/pillion-proxy/pillion/internal/metrics"
)

// FollowerOptions configure a Follower. Every field is needed unless its comment says otherwise.
type FollowerOptions struct {
	Targets []string    // control planes, HOST:PORT: one at a time is followed, the next when that is away
	TLS     *tls.Config // nil for plain TCP
	ID      string      // names this front among the fronts
	// Apply puts a configuration in force, all of it before it returns: the control plane then tells sidecars that drain that no visitor comes any
	// more. An error rejects what was new, and the last good one is still in force.
	Apply   func(FrontConfig) error
	Metrics *metrics.Follower
	Log     *slog.Logger
}

// Follower keeps a front as a control plane wants it. It reads the resources that Envoy reads, over the same protocol (ADS, delta). While no control
// plane answers, and when one says what the front does not implement, the last good configuration stays.
type Follower struct {
	opts FollowerOptions

	// Run's own.
	have     received
	versions map[string]map[string]string // of what was accepted, by type and name
	apps     map[string]FrontApp          // in force
	complete bool                         // once all was there, so that listeners could be opened

	mu     sync.Mutex
	status FollowerStatus
}

// FollowerStatus is what an operator may see.
type FollowerStatus struct {
	ControlPlane string            `json:"control_plane"` // the one that is followed, or was tried last
	Connected    bool              `json:"connected"`
	Trouble      string            `json:"trouble,omitempty"`  // why it is not
	Rejected     map[string]string `json:"rejected,omitempty"` // the last word on each type that is refused
}

// received are the resources that were accepted, as readers made them, by type and name.
type received map[string]map[string]any

// NewFollower returns a follower that does nothing before Run.
func NewFollower(opts FollowerOptions) (*Follower, error) {
	if len(opts.Targets) == 0 {
		return nil, errors.New("xds: no control plane is named")
	}
	return &Follower{opts: opts, have: received{}, versions: map[string]map[string]string{}, apps: map[string]FrontApp{}}, nil
}

// Status tells how the follower is.
func (f *Follower) Status() FollowerStatus {
	f.mu.Lock()
	defer f.mu.Unlock()
	status := f.status
	status.Rejected = maps.Clone(status.Rejected)
	return status
}

// Run follows a control plane until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	for n := firstTarget(len(f.opts.Targets)); ctx.Err() == nil; n++ {
		start := time.Now()
		target := f.opts.Targets[n%len(f.opts.Targets)]
		err := f.follow(ctx, target)
		if ctx.Err() != nil {
			return
		}
		f.away(target, err)
		pause := minBackoff
		if time.Since(start) < maxBackoff { // the others may be away as well
			pause = maxBackoff / time.Duration(2*len(f.opts.Targets))
		}
		select {
		case <-ctx.Done():
		case <-time.After(jittered(pause)):
		}
	}
}

// away notes that the stream ended; the same trouble is logged once.
func (f *Follower) away(target string, err error) {
	f.mu.Lock()
	was := f.status
	f.status.ControlPlane, f.status.Connected, f.status.Trouble = target, false, err.Error()
	f.mu.Unlock()
	f.opts.Metrics.Following.Set(0)
	if was.Connected || was.Trouble != err.Error() {
		f.opts.Log.Warn("no control plane; what it said last stays in force", "control_plane", target, "error", err)
	}
}

func (f *Follower) connected(target string) {
	f.mu.Lock()
	news := !f.status.Connected
	f.status.ControlPlane, f.status.Connected, f.status.Trouble = target, true, ""
	f.mu.Unlock()
	f.opts.Metrics.Following.Set(1)
	if news {
		f.opts.Log.Info("following a control plane", "control_plane", target)
	}
}

// take puts resources of one type in force; when it returns nil, they are.
func (f *Follower) take(typeURL string, changed map[string]*anypb.Any, removed []string) error {
	next := maps.Clone(f.have)
	next[typeURL] = maps.Clone(next[typeURL])
	if next[typeURL] == nil {
		next[typeURL] = map[string]any{}
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		value, err := readResource(typeURL, changed[name])
		next[typeURL][name] = value
		wrong = append(wrong, err)
	}
	wanted := f.wanted(typeURL)
	for _, name := range removed {
		if !wanted[name] { // what something else still leads to stays
			delete(next[typeURL], name)
		}
	}
	err := errors.Join(wrong...)
	if err == nil {
		err = f.enforce(next)
	}
	f.judged(typeURL, err)
	return err
}

// enforce makes next what is in force.
func (f *Follower) enforce(next received) error {
	apps, err := next.apps(f.apps)
	if err != nil {
		return err
	}
	complete := f.complete || next.complete(apps)
	if err := f.opts.Apply(next.config(apps, complete)); err != nil {
		return err
	}
	f.have, f.apps, f.complete = next, apps, complete
	return nil
}

// judged notes whether a type was accepted.
func (f *Follower) judged(typeURL string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind := shortType(typeURL)
	if err == nil {
		delete(f.status.Rejected, kind)
		return
	}
	f.opts.Metrics.Rejections.WithLabelValues(kind).Inc()
	if f.status.Rejected == nil {
		f.status.Rejected = map[string]string{}
	}
	if f.status.Rejected[kind] != err.Error() {
		f.opts.Log.Error("what the control plane says is refused; the last good configuration stays", "type", kind, "error", oneLine(err))
	}
	f.status.Rejected[kind] = oneLine(err)
}

// wanted are the names of a type that the front needs, nil for all of the type.
func (f *Follower) wanted(typeURL string) map[string]bool {
	names := map[string]bool{}
	switch typeURL {
	case resource.EndpointType:
		for _, c := range f.have[resource.ClusterType] {
			names[c.(served).assignment] = true
		}
	case resource.RouteType:
		for _, l := range f.have[resource.ListenerType] {
			names[l.(listened).routes] = true
		}
	case resource.SecretType:
		for _, l := range f.have[resource.ListenerType] {
			if secret := l.(listened).secret; secret != "" {
				names[secret] = true
			}
		}
	default:
		return nil
	}
	return names
}
