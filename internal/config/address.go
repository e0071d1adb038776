package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Upstream is the app's address.
type Upstream struct {
	Network string // tcp or unix
	Address string
}

// String is how upstream is written.
func (u Upstream) String() string {
	if u.Network == "unix" {
		return "unix:" + u.Address
	}
	return "http://" + u.Address
}

func upstream(at func(*Config) *Upstream) binding {
	return bind("address", one, at, single(func(text string) (Upstream, error) {
		if file, ok := strings.CutPrefix(text, "unix:"); ok {
			return Upstream{"unix", file}, socketPath(text, file)
		}
		address, ok := strings.CutPrefix(text, "http://")
		if !ok {
			return Upstream{}, fmt.Errorf("%q begins with neither unix: nor http://", text)
		}
		if strings.Contains(address, "/") {
			return Upstream{}, fmt.Errorf("%q has a path: requests keep their own", text)
		}
		return Upstream{"tcp", address}, dialable(text, address)
	}))
}

// leadsTo tells whether the app's address is one where a listener at that address answers.
func (u Upstream) leadsTo(listen string) bool {
	host, port, _ := net.SplitHostPort(u.Address)
	at, listens, err := net.SplitHostPort(listen)
	if u.Network != "tcp" || err != nil || port != listens {
		return false
	}
	own, bad := netip.ParseAddr(at)
	return host == at || onLoopback(u.Address) && (at == "" || bad == nil && own.IsUnspecified())
}

// AppCheck is how the app is asked whether it takes requests.
type AppCheck struct {
	Off  bool   // it is not asked
	Path string // "": whether it accepts connections
}

func appCheck(at func(*Config) *AppCheck) binding {
	return bind("check", one, at, single(func(text string) (AppCheck, error) {
		switch {
		case text == "tcp":
			return AppCheck{}, nil
		case text == "off":
			return AppCheck{Off: true}, nil
		case appPath.MatchString(text):
			return AppCheck{Path: text}, nil
		}
		return AppCheck{}, fmt.Errorf("%q is none of tcp, off, and a path that begins with /", text)
	}))
}

var appPath = regexp.MustCompile(`^/[!-~]*$`)

// listen reads an address to listen on: the host may be left away, and port 0 takes a free one.
func listen(at func(*Config) *string) binding {
	return bind("address", one, at, single(func(text string) (string, error) {
		_, port, err := net.SplitHostPort(text)
		if err != nil || !isPort(port, 0) {
			return "", fmt.Errorf("%q is no address to listen on: HOST:PORT or :PORT", text)
		}
		return text, nil
	}))
}

// listenOrOff is listen where nothing need be listened on: off is "".
func listenOrOff(at func(*Config) *string) binding {
	return bind("address", one, at, single(func(text string) (string, error) {
		if text == "off" {
			return "", nil
		}
		_, port, err := net.SplitHostPort(text)
		if err != nil || !isPort(port, 0) {
			return "", fmt.Errorf("%q is neither off nor an address to listen on: HOST:PORT or :PORT", text)
		}
		return text, nil
	}))
}

// loopbackOnly reads an address that only this machine reaches.
func loopbackOnly(at func(*Config) *string) binding {
	return bind("address", one, at, single(func(text string) (string, error) {
		if file, ok := strings.CutPrefix(text, "unix:"); ok {
			return text, socketPath(text, file)
		}
		host, port, err := net.SplitHostPort(text)
		if err != nil || !isPort(port, 0) {
			return "", fmt.Errorf("%q is no address to listen on", text)
		}
		if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
			return "", fmt.Errorf("%q is not a loopback address, and sessions are read there without a password", text)
		}
		return text, nil
	}))
}

// addresses reads addresses to connect to.
func addresses(at func(*Config) *[]string) binding {
	return bind("addresses", list, at, each(func(text string) (string, error) { return text, dialable(text, text) }))
}

// endpoint reads an address that is told to others, who resolve no names.
func endpoint(at func(*Config) *string) binding {
	return bind("address", one, at, single(func(text string) (string, error) {
		if addr, err := netip.ParseAddrPort(text); err != nil || addr.Port() == 0 || addr.Addr().IsUnspecified() {
			return "", fmt.Errorf("%q is not IP:PORT", text)
		}
		return text, nil
	}))
}

// Node is one memcached.
type Node struct {
	Name    string
	Address string // host:port, unix:/path or tls:host:port
	Host    string // the machine it runs on, "" when not said
}

// Peer is another sidecar of the app.
type Peer struct {
	Route   string
	Address string // host:port, its data address
}

func peers(at func(*Config) *[]Peer) binding {
	parse := each(func(text string) (Peer, error) {
		route, address, ok := strings.Cut(text, "=")
		if !ok || !peerPattern.MatchString(route) {
			return Peer{}, fmt.Errorf("%q is no sidecar: ROUTE=HOST:PORT", text)
		}
		return Peer{route, address}, dialable(text, address)
	})
	return bind("sidecars", list, at, func(values []string) ([]Peer, error) {
		all, err := parse(values)
		routes := map[string]bool{}
		for _, p := range all {
			if routes[p.Route] {
				err = errors.Join(err, fmt.Errorf("the route %s is given twice", p.Route))
			}
			routes[p.Route] = true
		}
		return all, err
	})
}

var peerPattern = regexp.MustCompile(`^` + routePattern + `$`)

var nodePattern = regexp.MustCompile(`^[a-z0-9_]{1,16}$`)

func nodes(at func(*Config) *[]Node) binding {
	parse := each(parseNode)
	return bind("nodes", list, at, func(values []string) ([]Node, error) {
		all, err := parse(values)
		names, addresses := map[string]bool{}, map[string]string{}
		for _, n := range all {
			if names[n.Name] {
				err = errors.Join(err, fmt.Errorf("the name %s is given twice", n.Name))
			}
			endpoint := oneSpelling(strings.TrimPrefix(n.Address, "tls:"))
			if other := addresses[endpoint]; other != "" {
				err = errors.Join(err, fmt.Errorf("%s and %s are the same node %s", other, n.Name, endpoint))
			}
			names[n.Name], addresses[endpoint] = true, n.Name
		}
		return all, err
	})
}

// oneSpelling is the same for two addresses that differ in how they are written.
func oneSpelling(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address // a socket's path
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.Unmap().String()
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(host), "."), strings.TrimLeft(port, "0"))
}

func parseNode(text string) (Node, error) {
	node, option, hasOption := strings.Cut(text, ";")
	name, address, ok := strings.Cut(node, "=")
	if !ok {
		if name, address, _ := strings.Cut(text, ":"); dialable(text, address) == nil { // msm's own spelling
			return Node{}, fmt.Errorf("%q is written %s=%s here", text, name, address)
		}
		return Node{}, fmt.Errorf("%q is no node: NAME=HOST:PORT", text)
	}
	n := Node{Name: name, Address: address}
	if !nodePattern.MatchString(name) || name == localAuto || name == localNone {
		return n, fmt.Errorf("%q: a node's name is 1 to 16 of a-z, 0-9 and _, and not auto or none", text)
	}
	if hasOption {
		if n.Host, ok = strings.CutPrefix(option, "host="); !ok || n.Host == "" {
			return n, fmt.Errorf("%q: the only option is ;host=MACHINE", text)
		}
	}
	if file, ok := strings.CutPrefix(address, "unix:"); ok {
		return n, socketPath(text, file)
	}
	return n, dialable(text, strings.TrimPrefix(address, "tls:"))
}

const (
	localAuto = "auto"
	localNone = "none"
)

// Locals says which nodes run on this machine.
type Locals struct {
	Auto  bool // look at the addresses
	Names []string
}

func locals(at func(*Config) *Locals) binding {
	return bind("names", list, at, func(values []string) (Locals, error) {
		switch {
		case len(values) == 1 && values[0] == localAuto:
			return Locals{Auto: true}, nil
		case len(values) == 0, len(values) == 1 && values[0] == localNone:
			return Locals{}, nil
		}
		for i, name := range values {
			if name == localAuto || name == localNone {
				return Locals{}, fmt.Errorf("%s stands alone, without names", name)
			}
			if slices.Contains(values[:i], name) {
				return Locals{}, fmt.Errorf("%s is given twice", name)
			}
		}
		return Locals{Names: values}, nil
	})
}

// dialable checks that address has a host and a port other than 0.
func dialable(text, address string) error {
	host, port, err := net.SplitHostPort(address)
	switch {
	case err != nil:
		return fmt.Errorf("%q needs a host and a port, an IPv6 host in brackets", text)
	case host == "" || strings.ContainsAny(host, "@/") || strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return fmt.Errorf("%q names no host", text)
	case !isPort(port, 1):
		return fmt.Errorf("%q: the port is not a number from 1 to 65535", text)
	}
	return nil
}

func isPort(text string, low int) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && int(n) >= low
}

// socketPath wants an absolute path: the app and the sidecar rarely start in the same directory.
func socketPath(text, file string) error {
	if !strings.HasPrefix(file, "/") {
		return fmt.Errorf("%q: the path of a socket begins with /", text)
	}
	return nil
}
