package sidecar

import (
	"strconv"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// maxCandidates bounds the cookies of our name that are looked at: a jar full of them is an attack (C9).
const maxCandidates = 4

// Cookie is how the id travels between browser and sidecar (RFC 6265bis).
type Cookie struct {
	Name        string // __Host-psid unless the site is plain HTTP
	Insecure    bool   // no Secure attribute
	SameSite    string // Lax, Strict or None
	Partitioned bool
	MaxAge      time.Duration // 0: a session cookie
}

// take removes every cookie of our name from the Cookie fields and returns their values (C11: the app never sees it). Names
// compare byte for byte; what only equals ours after decoding or trimming is removed and not used (C10).
func (c Cookie) take(fields *head.Fields) []string {
	var values []string
	for i := range *fields {
		line := &(*fields)[i]
		if !strings.EqualFold(line.Name, "Cookie") || !c.mentioned(line.Value) {
			continue
		}
		var kept []string
		for pair := range strings.SplitSeq(line.Value, ";") {
			pair = strings.Trim(pair, " \t")
			name, value, found := strings.Cut(pair, "=")
			switch {
			case found && name == c.Name:
				values = append(values, value)
			case c.resembles(name, value, found):
			case pair != "":
				kept = append(kept, pair)
			}
		}
		line.Value = strings.Join(kept, "; ")
	}
	dropEmptyCookies(fields)
	return values
}

func (c Cookie) mentioned(line string) bool {
	return strings.Contains(line, c.Name) || strings.Contains(line, "%") || strings.Contains(line, "=_") ||
		strings.Contains(strings.ToLower(line), strings.ToLower(c.Name))
}

// resembles finds names that a decoding app could take for ours: percent-encoded, quoted, padded, other case, or no name at all.
func (c Cookie) resembles(name, value string, found bool) bool {
	if !found {
		return strings.EqualFold(name, c.Name)
	}
	if name == "" {
		return strings.HasPrefix(strings.ToLower(value), strings.ToLower(c.Name))
	}
	return strings.EqualFold(strings.Trim(unescape(name), "\" \t"), c.Name)
}

func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func dropEmptyCookies(fields *head.Fields) {
	kept := (*fields)[:0]
	for _, line := range *fields {
		if line.Value != "" || !strings.EqualFold(line.Name, "Cookie") {
			kept = append(kept, line)
		}
	}
	*fields = kept
}

// readID returns the first value that is an id of ours and not past its lifetime; a refused one costs no store access (C2).
func readID(values []string, keys *ring.Keys, lifetime time.Duration, m *metrics.Metrics) (ring.ID, bool) {
	if len(values) > maxCandidates {
		m.IDsRejected.WithLabelValues("too_many").Inc()
		return ring.ID{}, false
	}
	for _, value := range values {
		id, err := ring.ParseID(value)
		switch {
		case err != nil:
			m.IDsRejected.WithLabelValues("malformed").Inc()
		case !keys.Verify(id):
			m.IDsRejected.WithLabelValues("mac").Inc()
		case time.Since(id.Born()) > lifetime:
			m.IDsRejected.WithLabelValues("expired").Inc()
		default:
			return id, true
		}
	}
	return ring.ID{}, false
}

// write returns the Set-Cookie value that hands out id.
func (c Cookie) write(id ring.ID) string {
	age := ""
	if c.MaxAge > 0 {
		age = "; Max-Age=" + strconv.Itoa(int(c.MaxAge/time.Second))
	}
	return c.Name + "=" + id.String() + c.attributes() + age
}

// expire returns the Set-Cookie value that removes it: the same attributes, or a browser keeps a prefixed cookie (C5).
func (c Cookie) expire() string {
	return c.Name + "=" + c.attributes() + "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
}

func (c Cookie) attributes() string {
	s := "; Path=/"
	if !c.Insecure {
		s += "; Secure"
	}
	s += "; HttpOnly; SameSite=" + c.SameSite
	if c.Partitioned {
		s += "; Partitioned"
	}
	return s
}

// mints tells whether a Set-Cookie value of the app would overwrite our cookie; it is removed, for the id is ours to give.
func (c Cookie) mints(value string) bool {
	name, _, _ := strings.Cut(value, "=")
	return strings.Trim(name, " \t") == c.Name
}
