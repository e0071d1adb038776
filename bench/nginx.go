package main

import (
	_ "embed"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/template"
)

//go:embed peers/nginx.conf
var nginxBase string

// The variants of nginx.conf, each a redefinition of its blocks.
var (
	//go:embed peers/balancer.conf
	nginxBalancer string
	//go:embed peers/lua.conf
	nginxLua string
	//go:embed peers/lua_dict.conf
	nginxLuaDict string
	//go:embed peers/lua_get.conf
	nginxLuaGet string
	//go:embed peers/lua_four.conf
	nginxLuaFour string
)

// luaModule is nginx's Lua module, and what it needs.
const (
	luaModule = "ngx_http_lua_module.so"
	luaNeeds  = "ndk_http_module.so"
)

// nginxConf is what the templates know.
type nginxConf struct {
	Dir, Listen string
	Root        bool   // bench runs as root: workers must, too, to reach what is in the lab's directory
	App         string // as nginx names it: host:port, or unix:/path
	Modules     []string
	Chain, Key  string    // of a server that speaks TLS
	Backends    []backend // of the balancer
	Nodes       []string  // ports
}

// backend is a sidecar to a balancer.
type backend struct{ Route, Address string }

// startNginx starts one with the variants, or as a plain proxy without any. It returns where it listens.
func (l *lab) startNginx(c nginxConf, variants ...string) (*process, string, error) {
	c.Root = os.Getuid() == 0
	var err error
	if c.Dir, err = os.MkdirTemp(l.dir, "nginx-"); err != nil {
		return nil, "", err
	}
	if c.Listen, err = freeAddress(); err != nil {
		return nil, "", err
	}
	for _, variant := range variants {
		if variant == nginxLua {
			c.Modules = []string{filepath.Join(nginxModules(), luaNeeds), filepath.Join(nginxModules(), luaModule)}
		}
	}
	text, err := render(c, nginxBase, variants...)
	if err != nil {
		return nil, "", err
	}
	path := filepath.Join(c.Dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, "", err
	}
	p, err := l.start("nginx", "-c", path, "-p", c.Dir, "-e", "stderr")
	if err != nil {
		return nil, "", err
	}
	return p, c.Listen, p.listens(c.Listen)
}

// render executes a template with the redefinitions that follow it.
func render(data any, base string, redefinitions ...string) (string, error) {
	t, err := template.New("").Parse(base)
	for _, text := range redefinitions {
		if err == nil {
			_, err = t.New("variant").Parse(text)
		}
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, data)
	return b.String(), err
}

// nginxModules is the directory of nginx's dynamic modules, which nginx looks for below its prefix otherwise.
var nginxModules = sync.OnceValue(func() string {
	out, _ := exec.Command("nginx", "-V").CombinedOutput() // without nginx there are no modules either
	for _, word := range strings.Fields(string(out)) {
		if dir, ok := strings.CutPrefix(word, "--modules-path="); ok {
			return dir
		}
	}
	return ""
})

func ports(nodes []*node) []string {
	var out []string
	for _, n := range nodes {
		_, port, _ := net.SplitHostPort(n.address)
		out = append(out, port)
	}
	return out
}
