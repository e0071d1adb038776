package reverseproxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// spare is the room that Fields have for what a Handler adds.
const spare = 8

// fromHeader and toHeader turn net/http's maps into field lines and back. The lines of one name keep their order, which is all
// that RFC 9110, section 5.3 gives a meaning to; the order of names is lost in the map.
func fromHeader(h http.Header) head.Fields {
	lines := 0
	for _, values := range h {
		lines += len(values)
	}
	fields := make(head.Fields, 0, lines+spare)
	for name, values := range h {
		for _, value := range values {
			fields = append(fields, head.Field{Name: name, Value: value})
		}
	}
	return fields
}

func toHeader(h http.Header, fields head.Fields) {
	values := make([]string, len(fields)) // one allocation for all names that occur once
	for i, line := range fields {
		name := http.CanonicalHeaderKey(line.Name)
		if prior, ok := h[name]; ok {
			h[name] = append(prior, line.Value)
			continue
		}
		values[i] = line.Value
		h[name] = values[i : i+1 : i+1]
	}
}

// hopByHop are the fields of one connection (RFC 9110, section 7.6.1), with the obsolete ones that are still sent.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// removeHopByHop removes them and what Connection names.
func removeHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// upgradeOf returns the protocols that a head offers or switches to, "" for none. h2c is not offered to the app: its frames
// would pass the Handler unseen (P5).
func upgradeOf(h http.Header) string {
	if len(h["Upgrade"]) == 0 || !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	var offered []string
	for protocol := range strings.SplitSeq(strings.Join(h["Upgrade"], ","), ",") {
		protocol = textproto.TrimString(protocol)
		if protocol != "" && isPrintable(protocol) && !strings.EqualFold(protocol, "h2c") {
			offered = append(offered, protocol)
		}
	}
	return strings.Join(offered, ", ")
}

func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for item := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(item), token) {
				return true
			}
		}
	}
	return false
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// normal is a field name as servers with the CGI convention may see it: lower case, everything else a hyphen (H1).
func normal(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
}

// removeBadTrailers removes trailer fields that must not be sent as such (RFC 9110, section 6.5.1) and the names that Pillion and
// its app speak with: a server may merge trailers into the head (H1, H5).
func removeBadTrailers(h http.Header) {
	for name := range h {
		switch n := normal(name); n {
		case "host", "content-length", "content-encoding", "content-type", "content-range", "cookie", "set-cookie", "authorization":
			delete(h, name)
		default:
			if strings.HasPrefix(n, "pillion-") || strings.HasPrefix(n, "x-forwarded-") {
				delete(h, name)
			}
		}
	}
	removeHopByHop(h)
}
