package main

import (
	"os"
	"strings"
)

// startLua starts nginx with sessions in Lua, kept as the variant says, and gives it the sessions of the sidecars' visitors.
func startLua(s *stage, path, variant string, does work) (*candidate, error) {
	home, err := s.site(stickySite)
	if err != nil {
		return nil, err
	}
	nodes, err := s.startNodes()
	if err != nil {
		return nil, err
	}
	p, address, err := s.startNginx(nginxConf{App: s.plain.address(), Nodes: ports(nodes)}, nginxLua, variant)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(home.cookies)
	if err != nil {
		return nil, err
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		cookie := strings.TrimSpace(line)
		if _, err := visit("http://"+address+fillPath, cookie); err != nil {
			return nil, err
		}
		_, key, _ := strings.Cut(cookie, "=")
		keys = append(keys, key)
	}
	if variant == nginxLuaGet { // which only reads
		if err := nodes[0].store(keys, s.plain.fill); err != nil {
			return nil, err
		}
	}
	c := &candidate{url: "http://" + address + path, cookies: home.cookies, process: p, app: s.plain, does: does}
	if does.gets > 0 {
		c.nodes = nodes
	}
	return c, nil
}
