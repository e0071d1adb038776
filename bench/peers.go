package main

import "fmt"

// Names of candidates that others are compared with, or that have a budget.
const (
	direct        = "the app alone"
	nginxPlain    = "nginx"
	nginxUnix     = "nginx, Unix socket"
	nginxTLS      = "nginx, TLS"
	nginxBalances = "nginx, balancer"
	haproxyPlain  = "HAProxy"
	envoyPlain    = "Envoy"
	luaRead       = "nginx+lua dict, read"
	luaWrite      = "nginx+lua dict, write"
	luaGet        = "nginx+lua, memcached get"
	luaFour       = "nginx+lua, 4 operations"
	stickyRead    = "Pillion sticky read"
	stickyUnix    = "Pillion sticky read, Unix socket"
	stickyTLS     = "Pillion sticky read, TLS"
	stickyWrite   = "Pillion sticky write"
	asyncWrite    = "Pillion sticky write, async"
	sharedRead    = "Pillion shared read"
	sharedWrite   = "Pillion shared write"
	frontRead     = "Pillion front"
)

// peer is a candidate that can be started.
type peer struct {
	name  string
	needs string // a program besides nginx, memcached and wrk
	start func(*stage) (*candidate, error)
}

// peers are all candidates, in the order of the table.
var peers = []peer{
	{direct, "", func(s *stage) (*candidate, error) { return s.started(nil, s.plain.address(), nil) }},
	{nginxPlain, "", startNginx},
	{nginxUnix, "", startNginxUnix},
	{nginxTLS, "", startNginxTLS},
	{haproxyPlain, "haproxy", startHAProxy},
	{envoyPlain, "envoy", startEnvoy},
	{luaRead, "lua", func(s *stage) (*candidate, error) { return startLua(s, readPath, nginxLuaDict, work{session: true}) }},
	{luaWrite, "lua", func(s *stage) (*candidate, error) { return startLua(s, writePath, nginxLuaDict, work{session: true}) }},
	{luaGet, "lua", func(s *stage) (*candidate, error) {
		return startLua(s, readPath, nginxLuaGet, work{session: true, gets: 1})
	}},
	{luaFour, "lua", func(s *stage) (*candidate, error) {
		return startLua(s, writePath, nginxLuaFour, work{session: true, gets: 2, writes: 2})
	}},
	{stickyRead, "", of(stickySite, readPath, work{session: true})},
	{stickyUnix, "", of(unixSite, readPath, work{session: true})},
	{stickyTLS, "", of(tlsSite, readPath, work{session: true})},
	{stickyWrite, "", of(stickySite, writePath, work{session: true, commit: true, gets: 1.9, writes: 1.9})},
	{asyncWrite, "", of(asyncSite, writePath, work{session: true, commit: true, writes: 0.1})},
	{sharedRead, "", of(sharedSite, readPath, work{session: true, gets: 1})},
	{sharedWrite, "", of(sharedSite, writePath, work{session: true, commit: true, gets: 1.9, writes: 1.9})},
	{nginxBalances, "", startBalancer},
	{frontRead, "", startFront},
}

// of is the start of a sidecar that does some work.
func of(name, path string, does work) func(*stage) (*candidate, error) {
	return func(s *stage) (*candidate, error) {
		home, err := s.site(name)
		if err != nil {
			return nil, err
		}
		return home.candidate(path, does), nil
	}
}

// begin starts the peers that are wanted.
func (s *stage) begin(wanted func(peer) bool) ([]*candidate, error) {
	var all []*candidate
	for _, p := range peers {
		if !wanted(p) {
			continue
		}
		progress("starting %s", p.name)
		c, err := p.start(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		c.name = p.name
		all = append(all, c)
	}
	return all, nil
}

// startBalancer starts nginx before the sidecars that the front balances, too.
func startBalancer(s *stage) (*candidate, error) {
	home, err := s.site(frontSite)
	if err != nil {
		return nil, err
	}
	p, address, err := s.startNginx(nginxConf{Backends: home.backends()}, nginxBalancer)
	c := home.candidate(readPath, work{session: true})
	c.process, c.url = p, "http://"+address+readPath
	return c, err
}

func startFront(s *stage) (*candidate, error) {
	home, err := s.site(frontSite)
	if err != nil {
		return nil, err
	}
	c := home.candidate(readPath, work{session: true})
	c.process, c.front = home.front.process, home.front
	return c, nil
}
