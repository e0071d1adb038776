package main

import (
	_ "embed"
	"fmt"
	"net"
	"runtime"
	"strings"
)

// started is a candidate without sessions. Its visitors send the cookies of a sidecar's, so that all have the same heads to read.
func (s *stage) started(p *process, address string, err error) (*candidate, error) {
	if err != nil {
		return nil, err
	}
	home, err := s.site(stickySite)
	if err != nil {
		return nil, err
	}
	return &candidate{url: "http://" + address + readPath, cookies: home.cookies, process: p, app: s.plain}, nil
}

func startNginx(s *stage) (*candidate, error) {
	p, address, err := s.startNginx(nginxConf{App: s.plain.address()})
	return s.started(p, address, err)
}

func startNginxUnix(s *stage) (*candidate, error) {
	p, address, err := s.startNginx(nginxConf{App: s.unix.upstream()})
	c, err := s.started(p, address, err)
	if err != nil {
		return nil, err
	}
	c.app = s.unix
	return c, nil
}

func startNginxTLS(s *stage) (*candidate, error) {
	if err := s.certified(); err != nil {
		return nil, err
	}
	p, address, err := s.startNginx(nginxConf{App: s.plain.address(), Chain: s.chain, Key: s.key})
	c, err := s.started(p, address, err)
	if err != nil {
		return nil, err
	}
	c.url = strings.Replace(c.url, "http:", "https:", 1)
	return c, nil
}

//go:embed peers/haproxy.cfg
var haproxyConf string

func startHAProxy(s *stage) (*candidate, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	text, err := render(map[string]any{"Listen": address, "App": s.plain.address(), "Threads": runtime.NumCPU()}, haproxyConf)
	if err != nil {
		return nil, err
	}
	path, err := s.file("haproxy.cfg", text)
	if err != nil {
		return nil, err
	}
	p, err := s.start("haproxy", "-db", "-f", path)
	if err != nil {
		return nil, err
	}
	return s.started(p, address, p.listens(address))
}

//go:embed peers/envoy.yaml
var envoyConf string

func startEnvoy(s *stage) (*candidate, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	_, app, _ := net.SplitHostPort(s.plain.address())
	text, err := render(map[string]string{"Port": port, "AppPort": app}, envoyConf)
	if err != nil {
		return nil, err
	}
	path, err := s.file("envoy.yaml", text)
	if err != nil {
		return nil, err
	}
	p, err := s.start("envoy", "-c", path, "--concurrency", fmt.Sprint(runtime.NumCPU()), "--disable-hot-restart", "--log-level", "error")
	if err != nil {
		return nil, err
	}
	return s.started(p, address, p.listens(address))
}
