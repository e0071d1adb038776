package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pillion-proxy/pillion/internal/apptest"
)

// site is two memcached, two apps and two sidecars, with a control plane or with each other's address in their settings.
type site struct {
	*lab
	first   int // of its processes
	ledger  *ledger
	plane   *process // nil: static peers
	planeAt []string // its arguments
	port    int      // of Envoy's listener
	members []*member
}

// member is a sidecar with its app.
type member struct {
	route   string
	address string
	app     *apptest.Server
	args    []string
	process *process
}

// startSite starts a site; settings are more of the sidecars'.
func (l *lab) startSite(withPlane bool, settings ...string) (s *site, err error) {
	s = &site{lab: l, first: len(l.processes), ledger: newLedger()}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	common := append([]string{"--app=shop", "--admin=127.0.0.1:0", "--session-insecure-cookie", "--log-level=warn", "--ring-op-timeout=1s", "--commit-timeout=5s", "--ring-local-nodes=none",
		"--keys=id=1,use=seal,file=" + l.key}, settings...)
	for _, name := range []string{"n1", "n2"} {
		address, err := s.startNode()
		if err != nil {
			return s, err
		}
		common = append(common, "--ring-nodes="+name+"="+address)
	}
	if withPlane {
		if err := s.startPlane(); err != nil {
			return s, err
		}
		common = append(common, "--control-plane="+s.plane.says["listening on"])
	}
	for _, route := range []string{"a1", "a2"} {
		port, err := l.freePort()
		if err != nil {
			return s, err
		}
		m := &member{route: route, address: fmt.Sprintf("127.0.0.1:%d", port)}
		if m.app, err = apptest.Start(counter{s.ledger}); err != nil {
			return s, err
		}
		s.members = append(s.members, m)
	}
	for _, m := range s.members {
		m.args = append([]string{"sidecar", "--route=" + m.route, "--listen=" + m.address, "--upstream=http://" + m.app.Address()}, common...)
		for _, other := range s.members {
			if other != m && !withPlane {
				m.args = append(m.args, "--peers="+other.route+"="+other.address)
			}
		}
		if err := s.raise(m); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *site) startNode() (address string, err error) {
	port, err := s.freePort()
	if err != nil {
		return "", err
	}
	args := []string{"-l", "127.0.0.1", "-p", fmt.Sprint(port), "-U", "0", "-m", "128", "-t", "1"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	_, err = s.start(false, "memcached", args...)
	return fmt.Sprintf("127.0.0.1:%d", port), err
}

func (s *site) startPlane() (err error) {
	if s.port, err = s.freePort(); err != nil {
		return err
	}
	port, err := s.freePort()
	if err != nil {
		return err
	}
	services := filepath.Join(s.dir, fmt.Sprintf("services-%d.yaml", s.port))
	text := fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", s.port)
	if err := os.WriteFile(services, []byte(text), 0o600); err != nil {
		return err
	}
	s.planeAt = []string{"control-plane", fmt.Sprintf("--listen=127.0.0.1:%d", port), "--admin=127.0.0.1:0", "--services=" + services}
	s.plane, err = s.start(true, s.pillion, append(s.planeAt, "--hold-off=0s")...)
	return err
}

// raise starts the member's sidecar, and returns when visitors may come.
func (s *site) raise(m *member) (err error) {
	if m.process, err = s.start(true, s.pillion, m.args...); err != nil {
		return err
	}
	return s.serves(m)
}

// serves waits until the member's health path says yes and, with a control plane, fronts know that.
func (s *site) serves(m *member) error {
	if err := until(s.ctx, m.route+" serves", func() error { return s.health(m) }); err != nil {
		return fmt.Errorf("%w\n%s", err, m.process.log.tail())
	}
	if s.plane == nil {
		return nil
	}
	return until(s.ctx, m.route+" is registered", func() error {
		routes, err := s.registered()
		if err == nil && !slices.Contains(routes, m.route) {
			err = errors.New("it is not")
		}
		return err
	})
}

func (s *site) health(m *member) error {
	_, err := fetch("http://" + m.address + "/.well-known/pillion/ready")
	return err
}

// registered are the routes that do not drain.
func (s *site) registered() (routes []string, err error) {
	text, err := fetch("http://" + s.plane.says["admin on"] + "/registry")
	if err != nil {
		return nil, err
	}
	var view struct {
		Sidecars []struct {
			Route, Hidden string
			Draining      bool
			Lost          string
		}
	}
	err = json.Unmarshal([]byte(text), &view)
	for _, sidecar := range view.Sidecars {
		if !sidecar.Draining && sidecar.Hidden == "" && sidecar.Lost == "" {
			routes = append(routes, sidecar.Route)
		}
	}
	return routes, err
}

// end ends what the site started.
func (s *site) end() {
	s.stopSince(s.first)
	for _, m := range s.members {
		if m.app != nil {
			_ = m.app.Close()
		}
	}
}
