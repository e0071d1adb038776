package h1

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// The PROXY protocol (haproxy.org/download/3.0/doc/proxy-protocol.txt), by which a balancer that sees only bytes says who connected to it.

const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	maxProxyLine   = 107
	maxProxyBlock  = 4 << 10 // addresses and extensions
)

var errProxyHeader = errors.New("h1: the connection does not begin with a PROXY protocol header: its sender must be told to send one, or proxy_protocol be switched off")

// readProxyHeader reads a header and no byte more. The address is not valid where the header gives none: for the balancer's own health
// checks, or for clients that did not come by TCP.
func readProxyHeader(c net.Conn) (netip.AddrPort, error) {
	start := make([]byte, len(proxySignature), maxProxyLine)
	if _, err := io.ReadFull(c, start); err != nil {
		return netip.AddrPort{}, err
	}
	switch {
	case string(start) == proxySignature:
		return readProxyBlock(c)
	case strings.HasPrefix(string(start), "PROXY "):
		return readProxyLine(c, start)
	}
	return netip.AddrPort{}, errProxyHeader
}

// readProxyLine reads version 1, byte by byte: what follows the line is not ours.
func readProxyLine(c net.Conn, line []byte) (netip.AddrPort, error) {
	for !strings.HasSuffix(string(line), "\r\n") {
		if len(line) == maxProxyLine {
			return netip.AddrPort{}, errProxyHeader
		}
		line = line[:len(line)+1]
		if _, err := io.ReadFull(c, line[len(line)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	words := strings.Split(strings.TrimSuffix(string(line), "\r\n"), " ")
	if words[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(words) != 6 {
		return netip.AddrPort{}, errProxyHeader
	}
	from, err := netip.ParseAddr(words[2])
	to, err2 := netip.ParseAddr(words[3])
	if err != nil || err2 != nil || from.Zone() != "" || !isFamily(words[1], from) || !isFamily(words[1], to) {
		return netip.AddrPort{}, errProxyHeader
	}
	port, err := strconv.ParseUint(words[4], 10, 16)
	if _, err2 := strconv.ParseUint(words[5], 10, 16); err != nil || err2 != nil {
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPortFrom(from, uint16(port)), nil
}

func isFamily(name string, a netip.Addr) bool {
	return name == "TCP4" && a.Is4() || name == "TCP6" && a.Is6()
}

// readProxyBlock reads version 2 after its signature.
func readProxyBlock(c net.Conn) (netip.AddrPort, error) {
	var fixed [4]byte
	if _, err := io.ReadFull(c, fixed[:]); err != nil {
		return netip.AddrPort{}, err
	}
	length := int(binary.BigEndian.Uint16(fixed[2:]))
	if fixed[0]>>4 != 2 || fixed[0]&0xf > 1 || length > maxProxyBlock {
		return netip.AddrPort{}, errProxyHeader
	}
	block := make([]byte, length)
	if _, err := io.ReadFull(c, block); err != nil {
		return netip.AddrPort{}, err
	}
	const local, tcp4, tcp6 = 0, 0x11, 0x21
	switch command, family := fixed[0]&0xf, fixed[1]; {
	case command == local:
		return netip.AddrPort{}, nil
	case family == tcp4 && length >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(block)), binary.BigEndian.Uint16(block[8:])), nil
	case family == tcp6 && length >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(block)), binary.BigEndian.Uint16(block[32:])), nil
	case family == tcp4 || family == tcp6:
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPort{}, nil
}
