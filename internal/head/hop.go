package head

import "strings"

// What belongs to one connection ends at each hop (RFC 9110, section 7.6.1), and so does what a trailer must not say.

// OfOneHop tells whether a field is of one connection; obsolete ones that are still sent included, and aliases of the two that frame messages,
// by which a server with the CGI convention would find another end of the body than we do.
func OfOneHop(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 7:
		return strings.EqualFold(name, "Trailer") || strings.EqualFold(name, "Upgrade")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "HTTP2-Settings") || isAlias(name, "content-length")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return looksLike(name, "transfer-encoding")
	case 18:
		return strings.EqualFold(name, "Proxy-Authenticate")
	case 19:
		return strings.EqualFold(name, "Proxy-Authorization")
	case 25:
		return strings.EqualFold(name, "Proxy-Authentication-Info")
	}
	return false
}

// isAlias tells whether a server with the CGI convention takes name for another, that of what frames messages, and we do not.
func isAlias(name, known string) bool {
	return looksLike(name, known) && !strings.EqualFold(name, known)
}

// EndHop removes the fields of one connection and those that Connection names. What Pillion and its app speak with is for this hop anyway: an
// app that names it there means it, and a logout must not be lost for that. The Handler takes it out (H1, H5).
func (f *Fields) EndHop() {
	var named []string
	ends := false
	for i := range *f {
		if name := (*f)[i].Name; OfOneHop(name) {
			ends = true
			if strings.EqualFold(name, "Connection") {
				for item := range Items((*f)[i].Value) {
					named = append(named, item)
				}
			}
		}
	}
	if !ends {
		return
	}
	f.Keep(func(name string) bool {
		if OfOneHop(name) {
			return false
		}
		if looksLike(name, "pillion-") {
			return true
		}
		for _, gone := range named {
			if strings.EqualFold(name, gone) {
				return false
			}
		}
		return true
	})
}

// Items are the elements of a comma-separated list, the empty ones left out (RFC 9110, section 5.6.1).
func Items(list string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for item := range strings.SplitSeq(list, ",") {
			if item = strings.Trim(item, " \t"); item != "" && !yield(item) {
				return
			}
		}
	}
}

// HasItem tells whether a list-valued field holds an item, whose case does not count.
func (f Fields) HasItem(name, item string) bool {
	for i := range f {
		if !strings.EqualFold(f[i].Name, name) {
			continue
		}
		for each := range Items(f[i].Value) {
			if strings.EqualFold(each, item) {
				return true
			}
		}
	}
	return false
}

// Upgrade returns the protocols that a head offers or switches to, "" for none. h2c is not offered to the app: its frames would
// pass the Handler unseen (P5).
func (f Fields) Upgrade() string {
	if !f.Has("Upgrade") || !f.HasItem("Connection", "upgrade") {
		return ""
	}
	var offered []string
	for i := range f {
		if !strings.EqualFold(f[i].Name, "Upgrade") {
			continue
		}
		for protocol := range Items(f[i].Value) {
			if isPrintable(protocol) && !strings.EqualFold(protocol, "h2c") {
				offered = append(offered, protocol)
			}
		}
	}
	return strings.Join(offered, ", ")
}

func isPrintable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// EndTrailer removes from trailer fields what must not be sent as such (RFC 9110, section 6.5.1) and the names that Pillion and its
// app speak with: a server may merge trailers into the head (H1, H5).
func (f *Fields) EndTrailer() {
	f.EndHop()
	f.Keep(func(name string) bool {
		return !looksLike(name, "pillion-") && !saysForwarded(name) && !mattersInHead(name)
	})
}

// mattersInHead tells whether a field frames, routes, authenticates or describes a message, so that it is none for a trailer.
func mattersInHead(name string) bool {
	for _, known := range [...]string{
		"host", "cookie", "set-cookie", "content-type", "content-range", "authorization", "content-length", "content-encoding",
	} {
		if len(name) == len(known) && looksLike(name, known) {
			return true
		}
	}
	return false
}
