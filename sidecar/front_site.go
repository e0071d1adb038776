package sidecar

import (
	"slices"
	"strings"
	"time"
)

// Site is what a front serves: hosts, the routes of each, and the apps behind them.
type Site struct {
	// NormalPaths makes paths unambiguous before a route is looked for, and sends them on so: what one app's prefix matches, another must not
	// read as its own.
	NormalPaths bool
	Hosts       []Host
	Apps        []App
}

// Host is a name and what is served there. "*.example.com" is every name below that one, "*" every other.
type Host struct {
	Name   string // lower case, without a port
	Routes []Route
}

// Route leads to an app. The first of a host that matches is taken; a host without one that does has no answer, whatever "*" has.
type Route struct {
	Prefix  string   // whole segments of the path; "/" is every path
	Methods []string // nil is every method
	App     string

	Cookie string            // name of the session cookie; "" where sessions are shared and nobody has a home
	Homes  map[string]string // a sidecar's address by the route in the id

	Timeout  time.Duration // from the end of a request to the end of its response; 0 is no bound
	Retries  int           // how often a request may be sent again
	Lost     bool          // also one that may have been executed, if it is safe
	Compress bool
}

// App is the sidecars of one app.
type App struct {
	Name          string
	HealthPath    string
	HealthTimeout time.Duration // of one probe; 0 is as long as until the next one
	Backends      []Backend
}

// AnyRetries is no bound: each sidecar is tried once.
const AnyRetries = int(^uint(0) >> 1)

// site is a Site made for looking things up.
type site struct {
	normalPaths bool
	exact       map[string][]Route
	below       []Host // "*.name" as ".name", the longest first
	any         []Route
	fleets      map[string]*fleet
}

// fleet is the sidecars of an app.
type fleet struct {
	App
	backends []*backend
	at       map[string]*backend // by address
	named    map[string]bool     // the names of backends
}

func (s *site) index(hosts []Host) {
	s.exact = map[string][]Route{}
	for _, h := range hosts {
		switch below, ok := strings.CutPrefix(h.Name, "*"); {
		case !ok:
			s.exact[h.Name] = h.Routes
		case below == "":
			s.any = h.Routes
		default:
			s.below = append(s.below, Host{below, h.Routes})
		}
	}
	slices.SortFunc(s.below, func(a, b Host) int { return len(b.Name) - len(a.Name) })
}

// route returns what serves a request, nil for nothing.
func (s *site) route(authority, method, target string) *Route {
	path, _, _ := strings.Cut(target, "?")
	routes := s.at(authority)
	for i := range routes {
		if routes[i].matches(method, path) {
			return &routes[i]
		}
	}
	return nil
}

// at returns the routes of a host. Names compare without case (RFC 9110, section 4.2.3), and a port says nothing.
func (s *site) at(authority string) []Route {
	if len(s.exact)+len(s.below) == 0 {
		return s.any
	}
	name := strings.ToLower(withoutPort(authority))
	if routes, ok := s.exact[name]; ok {
		return routes
	}
	for _, h := range s.below {
		if len(name) > len(h.Name) && strings.HasSuffix(name, h.Name) {
			return h.Routes
		}
	}
	return s.any
}

func withoutPort(authority string) string {
	at := strings.LastIndexByte(authority, ':')
	if at < 0 || strings.Trim(authority[at+1:], "0123456789") != "" { // [::1] without a port has a ":" too
		return authority
	}
	return authority[:at]
}

func (r *Route) matches(method, path string) bool {
	if r.Methods != nil && !slices.Contains(r.Methods, method) {
		return false
	}
	rest, ok := strings.CutPrefix(path, r.Prefix)
	return r.Prefix == "/" || ok && (rest == "" || rest[0] == '/')
}
