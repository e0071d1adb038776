package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

const visitors = 1000 // sessions that take turns

// stage is where candidates are set up; what several of them need is made once.
type stage struct {
	*lab
	sites      map[string]*site
	plain      *pageApp // behind what has nothing to do with sessions
	unix       *pageApp // the same on a Unix socket
	chain, key string   // files of the certificate, "" before the first that needs it
}

// site is a fleet with its sessions.
type site struct {
	*fleet
	base    string // where its visitors come
	cookies string // file with one in each line
	front   *server
}

func newStage(l *lab) (*stage, error) {
	s := &stage{lab: l, sites: map[string]*site{}}
	var err error
	if s.plain, err = newLoopbackApp(); err != nil {
		return nil, err
	}
	s.unix, err = newApp("unix", filepath.Join(l.dir, "app.sock"))
	return s, err
}

// Names of sites.
const (
	stickySite = "sticky"
	asyncSite  = "sticky, async"
	sharedSite = "shared"
	unixSite   = "Unix socket"
	tlsSite    = "TLS"
	frontSite  = "front"
)

// site returns the one with that name, filled with sessions.
func (s *stage) site(name string) (*site, error) {
	if found := s.sites[name]; found != nil {
		return found, nil
	}
	made, err := s.open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	cookies, err := newSessions(made.base, visitors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	made.cookies, err = s.file("cookies "+name, strings.Join(cookies, "\n")+"\n")
	s.sites[name] = made
	return made, err
}

// open starts the servers of a site.
func (s *stage) open(name string) (*site, error) {
	app, scheme, routes := s.plain, "http://", []string{"a1"}
	var settings []string
	switch name {
	case asyncSite:
		settings = []string{"--commit=async"}
	case sharedSite:
		settings = []string{"--sticky=false"}
	case unixSite:
		app = s.unix
	case tlsSite:
		if err := s.certified(); err != nil {
			return nil, err
		}
		scheme, settings = "https://", []string{"--tls-cert=" + s.chain, "--tls-key=" + s.key}
	case frontSite:
		routes = []string{"a1", "a2"}
	}
	f, err := s.startFleetBefore(app, routes, settings...)
	if err != nil {
		return nil, err
	}
	made := &site{fleet: f, base: scheme + f.sidecars[0].address}
	if name != frontSite {
		return made, nil
	}
	args := []string{"front", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--session-cookie=psid", "--compress=false"} // as the balancer beside it
	for _, b := range made.backends() {
		args = append(args, "--backends="+b.Route+"="+b.Address)
	}
	if made.front, err = s.startServer(args...); err != nil {
		return nil, err
	}
	made.base = "http://" + made.front.address
	return made, nil
}

// certified makes the certificate.
func (s *stage) certified() (err error) {
	if s.chain == "" {
		s.chain, s.key, err = s.certificate()
	}
	return err
}

// candidate makes one of the site: its sidecar is what is measured.
func (s *site) candidate(path string, does work) *candidate {
	return &candidate{
		url: s.base + path, cookies: s.cookies, process: s.sidecars[0].process, app: s.app, sidecars: s.sidecars, nodes: s.nodes, does: does,
	}
}

// backends are the sidecars of the site as a balancer knows them.
func (s *site) backends() (all []backend) {
	for _, sidecar := range s.sidecars {
		all = append(all, backend{sidecar.route, sidecar.address})
	}
	return all
}
