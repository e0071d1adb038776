package sidecar

import "strings"

// normalTarget makes the path of a target unambiguous, as Envoy's normalize_path does: no dot segments (RFC 3986, section 6.2.2.3), no escape of
// what needs none (6.2.2.2), escapes for what does, and "/" for "\", which some apps take for it. Escaped slashes stay, and so do the empty
// segments of "//": whether they mean something only the app knows. false: it is no path, has a NUL, or escapes that make others, as %%341 does.
func normalTarget(target string) (string, bool) {
	path, query, asked := strings.Cut(target, "?")
	if isNormal(path) {
		return target, true
	}
	if !strings.HasPrefix(path, "/") {
		return target, target == "*" // RFC 9112, section 3.2.4
	}
	plain, ok := settleEscapes(path)
	if again, _ := settleEscapes(plain); !ok || again != plain {
		return target, false
	}
	plain = withoutDots(plain)
	if asked {
		plain += "?" + query
	}
	return plain, true
}

// isNormal knows most paths at a glance.
func isNormal(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		c := path[i]
		if c == '.' && path[i-1] == '/' || c == '%' || c == '\\' || mustEscape(c) {
			return false
		}
	}
	return true
}

func mustEscape(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>^`{|}", c) >= 0 }

// unreserved need no escape (RFC 3986, section 2.3).
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func settleEscapes(path string) (string, bool) {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == 0:
			return "", false
		case c == '\\':
			b.WriteByte('/')
		case c == '%':
			decoded, ok := escaped(path[i:])
			switch {
			case !ok: // no escape, and nobody knows what it was meant to be
				b.WriteByte('%')
				continue
			case decoded == 0:
				return "", false
			case unreserved(decoded):
				b.WriteByte(decoded)
			default:
				b.WriteString(path[i : i+3])
			}
			i += 2
		case mustEscape(c):
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// escaped reads %41.
func escaped(text string) (c byte, ok bool) {
	if len(text) < 3 {
		return 0, false
	}
	for _, digit := range []byte(text[1:3]) {
		value := strings.IndexByte("0123456789abcdef", digit|0x20)
		if digit < '0' || value < 0 {
			return 0, false
		}
		c = c<<4 | byte(value)
	}
	return c, true
}

func withoutDots(path string) string {
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, segment := range segments {
		last := i == len(segments)-1
		switch segment {
		case ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, segment)
			continue
		}
		if last { // what it stood for is a folder
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}
