package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/xds/server"
)

// The two kinds of nodes. A front is whatever is no sidecar.
const (
	frontGroup   = "front"
	sidecarGroup = "sidecar"
)

func groupOf(node *core.Node) string {
	if node.GetCluster() == sidecarCluster {
		return sidecarGroup
	}
	return frontGroup
}

// Options configure a ControlPlane. Every field is needed unless its comment says otherwise.
type Options struct {
	Services string        // file, "" for none
	HoldOff  time.Duration // from the start until the first publication
	TLS      *tls.Config   // nil for plain TCP; with it clients must show certificates, see identity.go
	Insecure bool          // allow plain TCP on an address that other machines reach
	Metrics  *metrics.ControlPlane
	Log      *slog.Logger
}

// ErrPlain: xDS without TLS decides where visitors go, for whoever reaches the port.
var ErrPlain = errors.New("xds: plain TCP on an address that other machines reach")

// ControlPlane is the xDS server, its registry and its publisher.
type ControlPlane struct {
	opts      Options
	listener  net.Listener
	loopback  bool // nobody else reaches it
	registry  *registry
	services  atomic.Pointer[Services]
	server    *server.Server
	grpc      *grpc.Server
	publisher *publisher
	stop      context.CancelFunc
	ctx       context.Context
	work      sync.WaitGroup
	left      atomic.Pointer[time.Time] // since when it sends fronts away, nil: it does not

	mu      sync.Mutex
	refused map[string]refusal // by remote host and node
}

// New reads the services file and prepares to serve on l, which it closes at the end.
func New(l net.Listener, opts Options) (*ControlPlane, error) {
	c := &ControlPlane{opts: opts, listener: l, loopback: isLoopback(l.Addr().String()), registry: newRegistry(), refused: map[string]refusal{}}
	if opts.TLS == nil && !c.loopback && !opts.Insecure {
		return nil, ErrPlain
	}
	services, err := LoadServices(opts.Services)
	if err != nil {
		return nil, err
	}
	c.services.Store(services)
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.server = server.New(c.ctx, server.Options{Group: groupOf, Observer: c, NamedOnly: []string{opaqueType}})
	c.publisher = newPublisher(c.registry, c.services.Load, c.server, opts.Metrics, opts.Log)
	c.grpc = grpc.NewServer(append(serverOptions(opts.TLS), grpc.StreamInterceptor(c.server.Intercept))...)
	c.server.Register(c.grpc)
	return c, nil
}

// serverOptions: pings find a peer that is gone within 8 s; without the enforcement policy the pings of clients end their connections.
// There is no MaxConnectionAge: it would unregister sidecars.
func serverOptions(secure *tls.Config) []grpc.ServerOption {
	all := []grpc.ServerOption{
		grpc.MaxConcurrentStreams(1 << 16),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: keepaliveInterval, Timeout: keepaliveTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveInterval - time.Second, PermitWithoutStream: true}),
	}
	if secure != nil {
		all = append(all, grpc.Creds(credentials.NewTLS(secure)))
	}
	return all
}

// Serve serves until Stop.
func (c *ControlPlane) Serve() error {
	c.work.Go(func() { c.publisher.run(c.ctx, c.opts.HoldOff) })
	c.work.Go(func() { c.watchServices() })
	return c.grpc.Serve(c.listener)
}

// goodbye is how long Stop lets clients take their leave.
const goodbye = 500 * time.Millisecond

// Stop ends all streams and tells clients to open no other one here (GOAWAY).
func (c *ControlPlane) Stop() {
	c.stop() // ends the streams: by themselves they never do
	late := time.AfterFunc(goodbye, c.grpc.Stop)
	defer late.Stop()
	c.grpc.GracefulStop()
	c.work.Wait()
}

// Ready is closed when the hold-off is over.
func (c *ControlPlane) Ready() <-chan struct{} { return c.publisher.ready }

// Request registers a sidecar by its first request, and by each that says something new about it. It implements server.Observer.
func (c *ControlPlane) Request(s server.Stream, node *core.Node, typeURL string, names []string) error {
	who := identityOf(s.TLS)
	if s.Group == frontGroup {
		if c.turnsAway(s) {
			return errLeaving
		}
		if !who.isFront(c.services.Load()) {
			return c.refuse(s, "identity", codes.PermissionDenied, errors.New("this certificate is no front's: give it the name "+frontName+", or list its name under fronts in the services file"))
		}
		c.admitted(s)
		c.countStreams()
		return nil
	}
	if node != nil {
		if err := c.register(s, who, node); err != nil {
			return err
		}
	}
	return c.mayRead(s, typeURL, names)
}

func (c *ControlPlane) register(s server.Stream, who identity, node *core.Node) error {
	sidecar, err := sidecarOf(node)
	if err != nil {
		return c.refuse(s, "metadata", codes.InvalidArgument, err)
	}
	if isLoopback(sidecar.Address) && !c.loopback {
		return c.refuse(s, "metadata", codes.InvalidArgument, errors.New("metadata address "+sidecar.Address+" is reached from its own machine alone: set advertise"))
	}
	services := c.services.Load()
	if !who.isSidecar(services, sidecar) {
		return c.refuse(s, "identity", codes.PermissionDenied, errors.New("this certificate is not that of "+sidecar.Route+"."+sidecar.App))
	}
	m := member{Sidecar: sidecar, Stream: s.ID, Since: s.Since, number: s.Number}
	news, err := c.registry.announce(m, func(all []member) error { return services.conflicts(all) })
	if err != nil {
		return c.refuse(s, "conflict", codes.FailedPrecondition, err)
	}
	c.admitted(s)
	c.countStreams()
	if news {
		c.opts.Log.Info("sidecar", "app", sidecar.App, "route", sidecar.Route, "address", sidecar.Address, "draining", sidecar.Draining, "stream", s.ID)
		c.publisher.kick()
	}
	return nil
}

// mayRead lets a sidecar read what is its own: its app's peers, its space's ring, its route's drain.
func (c *ControlPlane) mayRead(s server.Stream, typeURL string, names []string) error {
	m, ok := c.registry.of(s.ID)
	if !ok {
		return c.refuse(s, "metadata", codes.InvalidArgument, errors.New("the first request of a sidecar's stream must have its metadata"))
	}
	if typeURL != opaqueType {
		return nil // a type that sidecars are not served, and never answered
	}
	for _, name := range names {
		if name != "peers/"+m.App && name != "ring/"+m.Space && name != "drain/"+m.Route {
			return c.refuse(s, "names", codes.PermissionDenied, errors.New(name+" is not for "+m.Route+"."+m.App))
		}
	}
	return nil
}

// Answered counts ACKs and NACKs. It implements server.Observer.
func (c *ControlPlane) Answered(s server.Stream, a server.Answer) {
	if a.Error != "" {
		c.opts.Metrics.NACKs.WithLabelValues(shortType(a.TypeURL)).Inc()
		if a.First {
			c.opts.Log.Error("a client rejected its configuration; it keeps its last good one", "node", s.Node, "stream", s.ID,
				"type", shortType(a.TypeURL), "version", a.Version, "error", a.Error)
		}
		return
	}
	if s.Group == frontGroup {
		c.opts.Metrics.AckSeconds.Observe(a.Took.Seconds())
		c.publisher.ack()
	}
}

// Closed takes a sidecar out of the registry. It implements server.Observer.
func (c *ControlPlane) Closed(s server.Stream) {
	if c.ctx.Err() != nil {
		return
	}
	c.countStreams()
	c.opts.Log.Info("stream closed", "node", s.Node, "stream", s.ID)
	if s.Group == sidecarGroup {
		c.registry.leave(s.ID, time.Now())
		c.publisher.kick()
		return
	}
	c.publisher.ack() // a drain no longer waits for it
}

func (c *ControlPlane) countStreams() {
	for _, group := range []string{frontGroup, sidecarGroup} {
		c.opts.Metrics.Streams.WithLabelValues(group).Set(float64(c.server.Count(group)))
	}
}

// refusal is a client that was told no.
type refusal struct {
	Node   string    `json:"node"`
	Remote string    `json:"remote"`
	Reason string    `json:"reason"`
	Last   time.Time `json:"last"`
	Times  int       `json:"times"`
}

// maxRefusals bounds what is remembered of clients that anybody can make up.
const maxRefusals = 100

func (c *ControlPlane) refuse(s server.Stream, reason string, code codes.Code, err error) error {
	c.opts.Metrics.Refused.WithLabelValues(reason).Inc()
	text := oneLine(err)
	key := refusalKey(s)
	c.mu.Lock()
	r, again := c.refused[key]
	if again || len(c.refused) < maxRefusals {
		c.refused[key] = refusal{Node: s.Node, Remote: remoteHost(s), Reason: text, Last: time.Now(), Times: r.Times + 1}
	}
	c.mu.Unlock()
	if r.Reason != text { // it comes back every second
		c.opts.Log.Error("a client is refused", "node", s.Node, "remote", remoteHost(s), "error", text)
	}
	return status.Error(code, text)
}

// admitted forgets that a client was refused.
func (c *ControlPlane) admitted(s server.Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.refused, refusalKey(s))
}

func refusalKey(s server.Stream) string { return remoteHost(s) + " " + s.Node }

func remoteHost(s server.Stream) string {
	if s.Remote == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(s.Remote.String())
	if err != nil {
		return s.Remote.String()
	}
	return host
}

// shortType is the last word of a type URL.
func shortType(typeURL string) string { return typeURL[strings.LastIndexAny(typeURL, "./")+1:] }
