package ring

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Node is one configured memcached.
type Node struct {
	Name    string
	Address string // host:port, unix:/path or tls:host:port
	Host    string // the machine it runs on, as far as known
	Local   bool   // runs on this sidecar's own machine: used only when no foreign node is up
}

// ParseNodes reads `NAME=ADDRESS` entries, each with an optional `;host=MACHINE`, and returns every mistake in them.
func ParseNodes(list []string) (nodes []Node, mistakes []error) {
	names, addresses := map[string]bool{}, map[string]string{}
	for _, entry := range list {
		n, err := parseNode(entry)
		endpoint := strings.TrimPrefix(n.Address, "tls:")
		switch other, taken := addresses[endpoint]; {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("ring: node %q: %w", entry, err))
			continue
		case names[n.Name]:
			mistakes = append(mistakes, fmt.Errorf("ring: node %q: the name %s is given twice: a name is one node for ever", entry, n.Name))
		case taken:
			mistakes = append(mistakes, fmt.Errorf("ring: node %q: %s has that address already: two copies on one node are one", entry, other))
		}
		names[n.Name], addresses[endpoint] = true, n.Name
		nodes = append(nodes, n)
	}
	return nodes, mistakes
}

func parseNode(entry string) (Node, error) {
	node, option, hasOption := strings.Cut(entry, ";")
	name, address, ok := strings.Cut(node, "=")
	if !ok {
		name, address, _ = strings.Cut(node, ":") // msm's own spelling
		if ValidNode(name) && checkAddress(name, address) == nil {
			return Node{}, fmt.Errorf("write %s=%s", name, address)
		}
		return Node{}, errors.New("write NAME=HOST:PORT")
	}
	n := Node{Name: name, Address: address}
	if !ValidNode(name) {
		return Node{}, fmt.Errorf("a name is 1 to 16 of a-z, 0-9 and _, not %q", name)
	}
	if hasOption {
		if n.Host, ok = strings.CutPrefix(option, "host="); !ok || n.Host == "" {
			return Node{}, errors.New("the only option is ;host=MACHINE")
		}
	}
	return n, checkAddress(name, address)
}

func checkAddress(name, address string) error {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("write the socket's whole path: %s=unix:/PATH", name)
		}
		return nil
	}
	host, port, ok := splitPort(address)
	if !ok {
		return fmt.Errorf("the port is missing: write %s=%s:11211", name, address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q is no port", port)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if addr, err := netip.ParseAddr(inner); !ok || err != nil || !addr.Is6() {
			return fmt.Errorf("%s is no IPv6 address", host)
		}
		return nil
	}
	if strings.Contains(host, ":") {
		return fmt.Errorf("write an IPv6 address in brackets: %s=[%s]:%s", name, host, port)
	}
	if host == "" || strings.ContainsAny(host, "/[]@ \t\r\n\x00") {
		return fmt.Errorf("%q is no host: write %s=HOST:%s", host, name, port)
	}
	return nil
}

// splitPort cuts a TCP address, plain or over TLS, before its port.
func splitPort(address string) (host, port string, ok bool) {
	address = strings.TrimPrefix(address, "tls:")
	i := strings.LastIndexByte(address, ':')
	if i < 0 || strings.HasSuffix(address, "]") {
		return "", "", false
	}
	return address[:i], address[i+1:], true
}

// MarkLocal returns nodes with Local set and, where the address tells it, Host. The local ones are those of the explicit list
// (msm's failoverNodes), or, with auto, those on this machine: on one of its addresses, on a Unix socket, or with its host name.
// Auto marks none where it would mark all; an explicit list of all is an error. A loopback address never counts: it is how a
// fleet on one machine is tried, and how a tunnel to another machine looks.
func MarkLocal(nodes []Node, explicit []string, auto bool, host string, ownAddrs []netip.Addr) ([]Node, error) {
	marked := slices.Clone(nodes)
	var unknown []error
	for _, name := range explicit {
		if !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == name }) {
			unknown = append(unknown, fmt.Errorf("ring: local node %s is not one of ring.nodes: remove it, or add it there", name))
		}
	}
	if unknown != nil {
		return nil, errors.Join(unknown...)
	}
	locals := 0
	for i := range marked {
		n := &marked[i]
		if n.Host == "" {
			n.Host = machine(n.Address)
		}
		if n.Local = slices.Contains(explicit, n.Name); len(explicit) == 0 {
			n.Local = auto && onThisMachine(*n, host, ownAddrs)
		}
		if n.Local {
			locals++
		}
	}
	if locals < len(marked) {
		return marked, nil
	}
	if len(explicit) > 0 {
		return nil, errors.New("ring: every node is local, so none would take a session: leave those of other machines out of ring.local_nodes")
	}
	for i := range marked {
		marked[i].Local = false
	}
	return marked, nil
}

func onThisMachine(n Node, host string, ownAddrs []netip.Addr) bool {
	if strings.HasPrefix(n.Address, "unix:") || host != "" && n.Host == host {
		return true
	}
	addr, err := netip.ParseAddr(machine(n.Address))
	return err == nil && slices.ContainsFunc(ownAddrs, func(own netip.Addr) bool {
		return own.Unmap().WithZone("") == addr.Unmap().WithZone("")
	})
}

// machine is the host part of a TCP address, "" for a socket or loopback, which name no machine.
func machine(address string) string {
	if strings.HasPrefix(address, "unix:") {
		return ""
	}
	host, _, _ := splitPort(address)
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.Unmap().IsLoopback() {
		return ""
	}
	return host
}
