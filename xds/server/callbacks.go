package server

import (
	"context"
	"slices"
	"strconv"
	"time"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	xds "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// callbacks is how go-control-plane tells what happens on streams. Its two servers count their streams apart, so the ids get a letter. A
// delta request is shown before the node of an earlier one is filled in, so the account keeps what the node said.
type callbacks struct{ *Server }

var _ xds.Callbacks = callbacks{}

func sotwID(n int64) string  { return "s" + strconv.FormatInt(n, 10) }
func deltaID(n int64) string { return "d" + strconv.FormatInt(n, 10) }

func (c callbacks) OnStreamOpen(ctx context.Context, n int64, _ string) error {
	return c.opening(ctx, sotwID(n), Stream{})
}

func (c callbacks) OnDeltaStreamOpen(ctx context.Context, n int64, typeURL string) error {
	return c.opening(ctx, deltaID(n), Stream{Delta: true, typeURL: typeURL})
}

func (c callbacks) OnStreamClosed(n int64, _ *core.Node)      { c.closed(sotwID(n)) }
func (c callbacks) OnDeltaStreamClosed(n int64, _ *core.Node) { c.closed(deltaID(n)) }

func (c callbacks) opening(ctx context.Context, id string, opened Stream) error {
	opened.ID, opened.Since = id, time.Now()
	st := &stream{Stream: opened, types: map[string]*account{}}
	st.ending, _ = ctx.Value(endingKey{}).(*ending)
	if p, ok := peer.FromContext(ctx); ok {
		st.Remote = p.Addr
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			st.TLS = &info.State
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Server.opened++
	st.Number = c.Server.opened
	c.streams[id] = st
	return nil
}

func (c callbacks) closed(id string) {
	c.mu.Lock()
	st := c.streams[id]
	delete(c.streams, id)
	if st.Group != "" {
		c.counts[st.Group]--
	}
	c.mu.Unlock()
	if st.Group != "" {
		c.opts.Observer.Closed(st.Stream)
	}
}

// OnStreamRequest parks what was answered. The cache takes what the client names as its version for what it has, and sends the newest
// again when that differs: to a client that rejected it, and to an Envoy that dropped its last route and now ignores routes.
func (c callbacks) OnStreamRequest(n int64, req *discovery.DiscoveryRequest) error {
	id := sotwID(n)
	if err := c.request(id, req.GetNode(), req.GetTypeUrl(), req.GetResourceNames()); err != nil {
		return err
	}
	if len(req.GetResourceNames()) == 0 && c.namedOnly(req.GetTypeUrl()) { // the cache would give all
		return errNamed
	}
	if names := req.GetResourceNames(); len(names) > 0 {
		c.forget(id, req.GetTypeUrl(), func(name string) bool { return !slices.Contains(names, name) })
	}
	if answered, ok := c.settle(id, req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail().GetMessage(), req.GetErrorDetail() != nil); ok {
		req.VersionInfo = answered
	}
	return nil
}

func (c callbacks) OnStreamDeltaRequest(n int64, req *discovery.DeltaDiscoveryRequest) error {
	id := deltaID(n)
	if req.GetTypeUrl() == "" { // a stream of one type need not repeat it
		c.mu.Lock()
		req.TypeUrl = c.streams[id].typeURL
		c.mu.Unlock()
	}
	if err := c.request(id, req.GetNode(), req.GetTypeUrl(), req.GetResourceNamesSubscribe()); err != nil {
		return err
	}
	c.settle(id, req.GetTypeUrl(), req.GetResponseNonce(), req.GetErrorDetail().GetMessage(), req.GetErrorDetail() != nil)
	if versions := req.GetInitialResourceVersions(); len(versions) > 0 {
		c.mu.Lock()
		c.streams[id].account(req.GetTypeUrl()).brings(versions)
		c.mu.Unlock()
	}
	if gone := req.GetResourceNamesUnsubscribe(); len(gone) > 0 {
		c.forget(id, req.GetTypeUrl(), func(name string) bool { return slices.Contains(gone, name) })
	}
	return nil
}

var errNamed = status.Error(codes.InvalidArgument, "name the resources: this type is not given as a whole")

func (c callbacks) namedOnly(typeURL string) bool { return slices.Contains(c.opts.NamedOnly, typeURL) }

// request lets the observer judge, once the stream has a group.
func (c callbacks) request(id string, node *core.Node, typeURL string, names []string) error {
	c.mu.Lock()
	st := c.streams[id]
	if node != nil {
		group := c.opts.Group(node)
		if st.Group != "" && st.Group != group {
			c.mu.Unlock()
			return status.Error(codes.InvalidArgument, "a stream belongs to one kind of node: open another one")
		}
		if st.Group == "" {
			c.counts[group]++
		}
		st.Group, st.Node = group, node.GetId()
	}
	seen := st.Stream
	c.mu.Unlock()
	if c.namedOnly(typeURL) && slices.Contains(names, "*") {
		return errNamed
	}
	if seen.Group == "" {
		return status.Error(codes.InvalidArgument, "the first request of a stream must say which node it is from")
	}
	return c.opts.Observer.Request(seen, node, typeURL, names)
}

// settle returns the version that was answered; ok is false when none was.
func (c callbacks) settle(id, typeURL, nonce, problem string, rejected bool) (version string, ok bool) {
	if nonce == "" {
		return "", false
	}
	if rejected && problem == "" {
		problem = "rejected without a reason"
	}
	c.mu.Lock()
	st := c.streams[id]
	said, ok := st.account(typeURL).settle(typeURL, nonce, problem)
	seen := st.Stream
	c.mu.Unlock()
	if ok {
		c.opts.Observer.Answered(seen, said)
	}
	return said.Version, ok
}

// wanted: a request without names is for all.
func wanted(req *discovery.DiscoveryRequest, name string) bool {
	return len(req.GetResourceNames()) == 0 || slices.Contains(req.GetResourceNames(), name)
}

func (c callbacks) forget(id, typeURL string, unwanted func(string) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[id].account(typeURL).forget(unwanted)
}

// OnStreamResponse knows the resources' versions only while the response is of the current snapshot. An older one leaves them unknown:
// such a stream is behind, and gets the newer one next.
func (c callbacks) OnStreamResponse(_ context.Context, n int64, req *discovery.DiscoveryRequest, resp *discovery.DiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.streams[sotwID(n)]
	sent := &answer{version: resp.GetVersionInfo(), at: time.Now(), names: map[string]string{}, whole: true}
	current := c.current[st.Group]
	for name := range current.GetVersionMap(resp.GetTypeUrl()) {
		if !wanted(req, name) {
			continue
		}
		if current.GetVersion(resp.GetTypeUrl()) == sent.version {
			sent.names[name] = current.version(resp.GetTypeUrl(), name)
		} else {
			sent.names[name] = ""
		}
	}
	st.account(resp.GetTypeUrl()).send(resp.GetNonce(), sent)
}

func (c callbacks) OnStreamDeltaResponse(n int64, _ *discovery.DeltaDiscoveryRequest, resp *discovery.DeltaDiscoveryResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := &answer{version: resp.GetSystemVersionInfo(), at: time.Now(), names: map[string]string{}, removed: resp.GetRemovedResources()}
	for _, r := range resp.GetResources() {
		sent.names[r.GetName()] = r.GetVersion()
	}
	c.streams[deltaID(n)].account(resp.GetTypeUrl()).send(resp.GetNonce(), sent)
}

// OnFetchRequest is of the REST transport, which is not served.
func (c callbacks) OnFetchRequest(context.Context, *discovery.DiscoveryRequest) error {
	return status.Error(codes.Unimplemented, "use a stream")
}

// OnFetchResponse is of the REST transport, which is not served.
func (c callbacks) OnFetchResponse(*discovery.DiscoveryRequest, *discovery.DiscoveryResponse) {}
