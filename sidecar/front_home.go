package sidecar

import (
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// homeOf returns the address of the visitor's home: of the first cookie of that name whose end names a sidecar that is there. Envoy is given a
// program that does the same (xds/sticky.lua). Whether the id is genuine is the sidecar's to find out (C9: of a jar full of them, few are
// looked at).
func homeOf(fields head.Fields, cookie string, homes map[string]string) string {
	if cookie == "" {
		return ""
	}
	candidates := 0
	for _, line := range fields {
		if !head.Same(line.Name, "Cookie") {
			continue
		}
		for rest := line.Value; rest != ""; {
			var pair string
			pair, rest, _ = strings.Cut(rest, ";")
			name, value, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(name) != cookie {
				continue
			}
			if address := homes[routeIn(value)]; address != "" {
				return address
			}
			if candidates++; candidates == maxCandidates {
				return ""
			}
		}
	}
	return ""
}

// routeIn is what follows the last dot of an id, "" without one.
func routeIn(id string) string {
	id = strings.TrimSuffix(strings.TrimSpace(id), `"`)
	at := strings.LastIndexByte(id, '.')
	if at < 0 {
		return ""
	}
	return id[at+1:]
}
