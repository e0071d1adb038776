package sidecar

import (
	"strconv"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
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

// candidates are the values of the cookies of our name, in order: the first few, and how many there are.
type candidates struct {
	values [maxCandidates]string
	n      int
}

func (c *candidates) add(value string) {
	if c.n < len(c.values) {
		c.values[c.n] = value
	}
	c.n++
}

func (c *candidates) all() []string { return c.values[:min(c.n, len(c.values))] }

// take removes every cookie of our name from the Cookie fields and returns their values (C11: the app never sees it). Names
// compare byte for byte; what only equals ours after decoding or trimming is removed and not used (C10).
func (c Cookie) take(fields *head.Fields) (found candidates) {
	empty := false
	for i := range *fields {
		if line := &(*fields)[i]; strings.EqualFold(line.Name, "Cookie") && c.mentioned(line.Value) {
			line.Value = c.without(line.Value, &found)
			empty = empty || line.Value == ""
		}
	}
	if empty {
		dropEmptyCookies(fields)
	}
	return found
}

// without takes our cookies out of one line. What stays is a part of it, or has to be put together: at once, for a line may have thousands of pairs.
func (c Cookie) without(line string, found *candidates) string {
	from, kept, removed := 0, "", false // of what is kept in one piece
	var together strings.Builder
	for start := 0; start <= len(line); {
		end := strings.IndexByte(line[start:], ';')
		if end < 0 {
			end = len(line)
		} else {
			end += start
		}
		pair := strings.Trim(line[start:end], " \t")
		name, value, ok := strings.Cut(pair, "=")
		ours := ok && name == c.Name
		if ours {
			found.add(value)
		}
		switch {
		case ours, pair == "", c.resembles(name, value, ok):
			removed = true
		case kept == "":
			from = end - len(strings.TrimLeft(line[start:end], " \t"))
			kept, removed = strings.TrimRight(line[from:end], " \t"), false
		case !removed:
			kept = strings.TrimRight(line[from:end], " \t")
		default: // from here on it is in pieces
			if together.Len() == 0 {
				together.Grow(len(line))
				together.WriteString(kept)
			}
			together.WriteString("; ")
			together.WriteString(pair)
		}
		start = end + 1
	}
	if together.Len() > 0 {
		return together.String()
	}
	return kept
}

func (c Cookie) mentioned(line string) bool {
	return strings.Contains(line, c.Name) || strings.Contains(line, "%") || strings.Contains(line, "=_") || containsFold(line, c.Name)
}

// containsFold tells whether s holds an ASCII text in any case.
func containsFold(s, text string) bool {
	for ; len(s) >= len(text); s = s[1:] {
		if s[0]|0x20 == text[0]|0x20 && strings.EqualFold(s[:len(text)], text) {
			return true
		}
	}
	return false
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

// readID finds the first value that is an id of ours and not past its lifetime; a refused one costs no store access (C2).
func (h *Handler) readID(v *visit, found *candidates) bool {
	if found.n > maxCandidates {
		h.rejected("too_many")
		return false
	}
	for _, value := range found.all() {
		var id ring.ID
		var err error
		known := h.known(v, value)
		if known {
			id = v.spelling.id
		} else {
			id, err = ring.ParseID(value)
		}
		switch {
		case err != nil:
			h.rejected("malformed")
		case !known && !h.genuine(v, &id):
			h.rejected("mac")
		case v.at().Sub(id.Born()) > h.opts.Lifetime:
			h.rejected("expired")
		default:
			v.id, v.shown = id, id
			return true
		}
	}
	return false
}

func (h *Handler) rejected(reason string) { h.opts.Metrics.IDsRejected.WithLabelValues(reason).Inc() }

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

// mints tells whether a Set-Cookie value of the app would overwrite our cookie; it is removed, for the id is ours to give. A cookie without a name
// comes back as its value alone (RFC 6265bis, section 5.8.3), which may look like ours.
func (c Cookie) mints(value string) bool {
	name, rest, _ := strings.Cut(value, "=")
	if strings.Trim(name, " \t") == "" {
		name, _, _ = strings.Cut(rest, "=")
	}
	return strings.Trim(name, " \t") == c.Name
}
