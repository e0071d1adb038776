package h1

import (
	"bytes"
	"net/http"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// requestLine reads method, target and version, with one space between them (RFC 9112, section 3).
func (p *headParser) requestLine(line []byte) *head.Reply {
	if string(line) == "PRI * HTTP/2.0" {
		return preface // RFC 9113, section 3.4
	}
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, ok := bytes.Cut(rest, []byte{' '})
	if !ok || !all(method, isToken) {
		return badRequest
	}
	switch {
	case string(version) == "HTTP/1.1":
		p.minor = 1
	case string(version) == "HTTP/1.0":
	case isVersion(version):
		return unknownVersion
	default:
		return badRequest
	}
	if !all(target, isTarget) {
		return badTarget
	}
	p.Method, p.Target = text(method), text(target)
	return nil
}

// isVersion tells whether b is an HTTP version at all (RFC 9112, section 2.3).
func isVersion(b []byte) bool {
	return len(b) == len("HTTP/1.1") && string(b[:5]) == "HTTP/" && b[6] == '.' && b[5] >= '0' && b[5] <= '9' && b[7] >= '0' && b[7] <= '9'
}

// settleTarget makes the target one in origin form (RFC 9112, section 3.2). No byte of path and query changes (P6).
func (p *headParser) settleTarget() *head.Reply {
	switch {
	case p.Target[0] == '/':
	case p.Target == "*" && p.Method == http.MethodOptions:
		return nil
	case p.Method == http.MethodConnect:
		return nil // refused for the method
	default:
		if !p.absolute() {
			return badTarget
		}
	}
	if !escapesAreWhole(p.Target) {
		return badTarget
	}
	return nil
}

// absolute splits the absolute form: its authority replaces Host (RFC 9112, section 3.2.2).
func (p *headParser) absolute() bool {
	scheme, rest, ok := strings.Cut(p.Target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return false
	}
	at := strings.IndexAny(rest, "/?#")
	authority := rest
	if at >= 0 {
		authority = rest[:at]
	}
	if authority == "" || authority[0] == ':' || !all(authority, isHost) {
		return false
	}
	p.Authority = authority
	switch {
	case at < 0 && p.Method == http.MethodOptions:
		p.Target = "*" // RFC 9112, section 3.2.4
	case at < 0:
		p.Target = "/"
	case rest[at] == '/':
		p.Target = rest[at:]
	default:
		p.Target = "/" + rest[at:]
	}
	return true
}

// escapesAreWhole tells whether each % of the path begins an escape. In a query anything goes: apps and their users live with it.
func escapesAreWhole(target string) bool {
	for i := 0; i < len(target) && target[i] != '?'; i++ {
		if target[i] == '%' && (i+2 >= len(target) || chars[target[i+1]]&chars[target[i+2]]&isHex == 0) {
			return false
		}
	}
	return true
}
