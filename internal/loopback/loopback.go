// Package loopback tells who may talk to the listeners that are meant for this machine: the admin listener and the API for the
// app. A page in a browser on the same machine can reach them too, so an address that answers is no proof of who asks.
//
// Against DNS rebinding the Host field must name this machine (A1). Against cross-site requests the two fields that a page cannot
// forge, Origin and Sec-Fetch-Site, are looked at.
package loopback

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Host tells whether the Host field of r names this machine as the client reached it: a loopback address or localhost, the
// address the connection came in on, "unix" on a Unix socket, or one of names, with or without its port.
func Host(r *http.Request, names ...string) bool {
	host := hostname(r.Host)
	for _, name := range names {
		if strings.EqualFold(name, r.Host) || strings.EqualFold(hostname(name), host) {
			return true
		}
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if _, unix := local.(*net.UnixAddr); unix && host == "unix" || strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	own, _ := address(local)
	return addr.IsLoopback() || addr.Unmap() == own
}

// Addr tells whether only this machine reaches a listener at addr.
func Addr(addr net.Addr) bool {
	if _, unix := addr.(*net.UnixAddr); unix {
		return true
	}
	ip, ok := address(addr)
	return ok && ip.IsLoopback()
}

// SameOrigin tells whether r comes from a page of this listener, or from no page at all: a program, or an address that a person
// typed. Browsers send Origin with every cross-site request but a plain GET, and Sec-Fetch-Site with every request.
func SameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return false
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	origin := r.Header.Get("Origin")
	return origin == "" || strings.EqualFold(origin, scheme+r.Host)
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func address(addr net.Addr) (netip.Addr, bool) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return tcp.AddrPort().Addr().Unmap().WithZone(""), true
}
