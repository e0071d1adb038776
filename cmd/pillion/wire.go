package main

import (
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcached"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
	"github.com/pillion-proxy/pillion/sidecar"
)

// How settings become the Options of each package: one function for each. Packages know neither the settings nor each other.

// itemGrace is how long a stored session outlives its idle time beside the touch interval: clocks differ, and an expired session should
// be seen as expired, not as missing.
const itemGrace = 10 * time.Minute

func idKeys(c *config.Config) (*ring.Keys, error) {
	return ring.NewKeys(c.Space, secrets(c)...)
}

// secrets are the fleet's keys, the sealing one first.
func secrets(c *config.Config) (all [][]byte) {
	for _, k := range c.Keys {
		all = append(all, k.Content)
	}
	return all
}

func blobCodec(c *config.Config) (*sessioncodec.Codec, error) {
	o := sessioncodec.Options{Space: c.Space, Compression: compressions[c.Compression]}
	for _, k := range c.Keys {
		key := sessioncodec.Key{ID: k.ID, Secret: k.Content}
		if k.Seal {
			o.Seal = &key
		} else {
			o.Open = append(o.Open, key)
		}
	}
	return sessioncodec.New(o)
}

var compressions = map[config.Compression]sessioncodec.Compression{
	config.CompressionAuto: sessioncodec.CompressAuto, config.CompressionNone: sessioncodec.CompressNone,
	config.CompressionSnappy: sessioncodec.CompressAuto, config.CompressionZstd: sessioncodec.CompressZstd,
}

// ringNodes marks the nodes that run on this machine.
func ringNodes(c *config.Config, host string) ([]ring.Node, error) {
	nodes := make([]ring.Node, 0, len(c.Ring.Nodes))
	for _, n := range c.Ring.Nodes {
		nodes = append(nodes, ring.Node{Name: n.Name, Address: n.Address, Host: n.Host})
	}
	own, err := ownAddresses()
	if err != nil {
		return nil, err
	}
	return ring.MarkLocal(nodes, c.Ring.LocalNodes.Names, c.Ring.LocalNodes.Auto, host, own)
}

func ownAddresses() ([]netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	var own []netip.Addr
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr())
		}
	}
	return own, nil
}

func storeOptions(c *config.Config, nodes []ring.Node, codec *sessioncodec.Codec, m *metrics.Metrics, log *slog.Logger) (memcached.Options, error) {
	trust, err := c.Ring.TLS.Client()
	if err != nil {
		return memcached.Options{}, err
	}
	o := memcached.Options{
		Nodes: nodes, Space: c.Space, Codec: codec, Copies: 2, OpTimeout: c.Ring.OpTimeout,
		TouchSlack: sidecar.TouchInterval(c.Session.Idle) + itemGrace, TLS: trust, Metrics: m, Log: log,
	}
	if c.Sticky {
		o.Copies = c.Copies
	}
	o.Opened = openedCopies(c)
	user, password, err := c.Ring.Auth()
	if user != "" {
		o.Auth = func() (string, string) { return user, password }
	}
	return o, err
}

// openedCopies is the store's part of header_cache. Shared mode asks it with each request; sticky mode only where sessions change, to know
// what it wrote there last.
func openedCopies(c *config.Config) int64 {
	if c.Sticky {
		return int64(c.HeaderCache) / 4
	}
	return int64(c.HeaderCache) / 2
}

func sessionOptions(c *config.Config, route string, m *metrics.Metrics, log *slog.Logger) (sidecar.Options, error) {
	var incarnation [8]byte
	rand.Read(incarnation[:])
	total, err := machineMemory()
	o := sidecar.Options{
		Space: c.Space, Route: route, Incarnation: binary.LittleEndian.Uint64(incarnation[:]),
		Upstream: head.To{Network: c.Upstream.Network, Address: c.Upstream.Address}, Sticky: c.Sticky,
		Cookie: sidecar.Cookie{
			Name: c.Session.Cookie, Insecure: c.Session.InsecureCookie, SameSite: string(c.Session.SameSite),
			Partitioned: c.Session.Partitioned, MaxAge: c.Session.MaxAge,
		},
		Idle: c.Session.Idle, Lifetime: c.Session.Lifetime, RenewGrace: c.Session.RenewGrace,
		PerSubject: c.Session.PerSubject, Revocation: c.Session.Revocation,
		MaxSize: c.Session.MaxSize, InlineMax: c.Session.InlineMax, MaxPatch: c.Session.MaxPatch, Ignore: c.Session.Ignore,
		Commit: commits[c.Commit], CommitTimeout: c.CommitTimeout, Copies: c.Copies,
		Refuse: c.Ring.Isolated == config.IsolatedRefuse, Anonymous: c.Ring.Unknown == config.UnknownAnonymous, UnknownFor: c.Ring.UnknownFor,
		Lock: lockModes[c.Lock], LockPaths: c.LockPaths, LockWait: c.LockWait,
		Creations: c.Creations, TrustedProxies: c.TrustedProxies,
		Strict: c.Strict, MemoryLimit: c.MemoryLimit.Of(total), HeaderCache: int64(c.HeaderCache) - openedCopies(c), Handles: c.API.Listen != "",
		Secrets: secrets(c), Random: rand.Reader, Metrics: m, Log: log,
	}
	for _, key := range c.AppAuth.Keys {
		o.AppAuth = append(o.AppAuth, key.Content)
	}
	return o, err
}

var commits = map[config.Commit]sidecar.Commit{
	config.CommitBeforeReply: sidecar.BeforeReply, config.CommitAll: sidecar.All, config.CommitAsync: sidecar.Async,
}

var lockModes = map[config.Lock]sidecar.LockMode{
	config.LockNone: sidecar.LockNone, config.LockAll: sidecar.LockAll, config.LockAuto: sidecar.LockAuto, config.LockPaths: sidecar.LockPaths,
}

func engineOptions(c *config.Config, m *metrics.Metrics, log *slog.Logger) head.EngineOptions {
	return head.EngineOptions{
		HealthPath: c.HealthPath, Limits: head.Limits(c.Limits), UpstreamTimeout: c.UpstreamTimeout, TrustedProxies: c.TrustedProxies,
		OwnAnswer: func(token string) { m.OwnAnswers.WithLabelValues(token).Inc() }, Log: log, AccessLog: c.Log.Access,
	}
}

// clientTLS serves the certificate that is in force at each handshake, so that a reload needs no restart.
func clientTLS(current func() *config.Config) (*tls.Config, error) {
	settings, err := current().TLS.Server()
	if settings == nil || err != nil {
		return nil, err
	}
	settings.NextProtos = []string{"h2", "http/1.1"}
	settings.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		fresh, err := current().TLS.Server()
		if fresh != nil {
			fresh.NextProtos = settings.NextProtos
		}
		return fresh, err
	}
	return settings, nil
}

// machineMemory is what memory_limit takes its share of: the container's limit, or the machine's memory.
func machineMemory() (int64, error) {
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return n, nil
		}
	}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 4 << 30, nil // not Linux: a share of 4 GiB
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemTotal:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("/proc/meminfo has no MemTotal; set memory_limit to a number of bytes")
}
