package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

const (
	routePattern = `[a-z0-9-]{1,32}`
	maxRoute     = 32
)

// RouteFor names the sidecar that listens on port of host, when route is not set: the first label of the host name and the port.
// A longer name is cut and told apart by 8 hex digits of its SHA-256.
func RouteFor(host string, port int) string {
	label, _, _ := strings.Cut(strings.ToLower(host), ".")
	whole := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, label) + "-" + strconv.Itoa(port)
	if len(whole) <= maxRoute {
		return whole
	}
	sum := sha256.Sum256([]byte(whole))
	return whole[:maxRoute-9] + "-" + hex.EncodeToString(sum[:4])
}
