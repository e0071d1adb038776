package xds

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/structpb"
)

// A link comes back within maxBackoff, which is less than a control plane's hold-off, or its first snapshot would lack this sidecar.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// link is a client's stream to one control plane, opened again whenever it ends.
type link struct {
	client *Client
	target string
	news   chan struct{} // the announcement changed

	versions map[string]string // of resources that were taken; run's own

	// The client's mu guards what follows.
	connected  bool // the announcement is on an open stream
	registered bool // and was answered
	drained    bool
	behind     int    // fronts that have not acknowledged the drain
	trouble    string // why the last stream ended
}

func (l *link) run(ctx context.Context) {
	l.versions = map[string]string{}
	backoff := minBackoff
	for ctx.Err() == nil {
		start := time.Now()
		err := l.stream(ctx)
		if ctx.Err() != nil {
			return
		}
		l.away(err)
		if time.Since(start) > maxBackoff {
			backoff = minBackoff
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration((0.5 + rand.Float64()/2) * float64(backoff))):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// away notes that the stream ended; the same trouble is logged once.
func (l *link) away(err error) {
	was := ""
	l.client.update(func() {
		was = l.trouble
		l.connected, l.registered, l.drained, l.behind, l.trouble = false, false, false, 0, err.Error()
	})
	if was != err.Error() {
		l.client.opts.Log.Warn("no control plane; what it said last stays in force", "control_plane", l.target, "error", err)
	}
}

// answered notes that the control plane took the announcement.
func (l *link) answered() {
	news := false
	l.client.update(func() { news, l.registered, l.trouble = !l.registered, true, "" })
	if news {
		l.client.opts.Log.Info("registered with the control plane", "control_plane", l.target)
	}
}

// stream dials, announces, and takes what comes until the stream ends.
func (l *link) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var local atomic.Value
	conn, err := grpc.NewClient("passthrough:///"+l.target, append(dialOptions(l.client.opts.TLS), grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{Timeout: maxBackoff}).DialContext(ctx, "tcp", address)
		if err == nil {
			local.Store(conn.LocalAddr())
		}
		return conn, err
	}))...)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).DeltaAggregatedResources(ctx)
	if err != nil {
		return err
	}
	ip := ""
	if at, ok := local.Load().(*net.TCPAddr); ok {
		ip = at.IP.String()
	}
	select { // the first request says all
	case <-l.news:
	default:
	}
	if err := stream.Send(&discovery.DeltaDiscoveryRequest{
		Node: l.client.announce(ip).node(), TypeUrl: opaqueType,
		ResourceNamesSubscribe: l.client.names(), InitialResourceVersions: maps.Clone(l.versions),
	}); err != nil {
		if errors.Is(err, io.EOF) {
			_, err = stream.Recv() // says why
		}
		return err
	}
	l.client.update(func() { l.connected = true })
	return l.exchange(stream, ip)
}

// exchange answers what comes, and repeats the announcement when it changes. Only this goroutine sends.
func (l *link) exchange(stream discovery.AggregatedDiscoveryService_DeltaAggregatedResourcesClient, ip string) error {
	incoming, failed := make(chan *discovery.DeltaDiscoveryResponse), make(chan error, 1)
	go func() {
		for {
			r, err := stream.Recv()
			if err != nil {
				failed <- err
				return
			}
			select {
			case incoming <- r:
			case <-stream.Context().Done():
			}
		}
	}()
	for {
		var request *discovery.DeltaDiscoveryRequest
		select {
		case err := <-failed:
			return err
		case <-l.news:
			request = &discovery.DeltaDiscoveryRequest{Node: l.client.announce(ip).node(), TypeUrl: opaqueType}
		case r := <-incoming:
			l.answered()
			request = l.answer(r)
		}
		err := stream.Send(request)
		for errors.Is(err, io.EOF) { // what was received says why
			select {
			case err = <-failed:
				return err
			case <-incoming:
			}
		}
		if err != nil {
			return err
		}
	}
}

// answer takes a response and returns its ACK or NACK. Of removed resources the last value stays.
func (l *link) answer(r *discovery.DeltaDiscoveryResponse) *discovery.DeltaDiscoveryRequest {
	var wrong []error
	for _, resource := range r.GetResources() {
		value := new(structpb.Struct)
		err := resource.GetResource().UnmarshalTo(value)
		if err == nil {
			err = l.client.take(l, resource.GetName(), value)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", resource.GetName(), err))
			continue
		}
		if resource.GetName() != l.client.drain { // of this stream only
			l.versions[resource.GetName()] = resource.GetVersion()
		}
	}
	for _, name := range r.GetRemovedResources() {
		delete(l.versions, name)
	}
	request := &discovery.DeltaDiscoveryRequest{TypeUrl: opaqueType, ResponseNonce: r.GetNonce()}
	if err := errors.Join(wrong...); err != nil {
		request.ErrorDetail = &statuspb.Status{Code: int32(codes.InvalidArgument), Message: oneLine(err)}
	}
	return request
}

// dialOptions find a control plane that is gone within 13 s; a connection that fails is the caller's to try again, not grpc's.
func dialOptions(config *tls.Config) []grpc.DialOption {
	secure := insecure.NewCredentials()
	if config != nil {
		secure = credentials.NewTLS(config.Clone())
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second, PermitWithoutStream: true}),
		grpc.WithNoProxy(),
	}
}

func joinPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }
