package config

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxCookieAge is what browsers keep (RFC 6265bis, C8).
const maxCookieAge = 400 * 24 * time.Hour

// checkSidecar applies the rules that concern several keys, and fills in the defaults that depend on other keys. A key that is wrong
// by itself is left alone, so that one mistake is reported once.
func (l *loader) checkSidecar() {
	for _, name := range []string{"app", "upstream", "ring.nodes"} {
		if len(l.config.settings[name].values) == 0 && !l.bad[name] {
			l.missing(name)
		}
	}
	l.fillIn()
	l.rule(l.config.Upstream.leadsTo(l.config.Listen), "is where this sidecar itself listens, so that each request would go round in circles: give the app another port", "upstream", "listen")
	l.checkCookie()
	l.checkSession()
	l.checkRing()
	l.checkTrust()
	l.checkControlPlane()
}

func (l *loader) missing(name string) {
	if l.bad[configFlag] {
		return // it may be in the file, which could not be read
	}
	k := l.table.named(name)
	l.add(Mistake{Key: name, Text: fmt.Sprintf("is missing: write --%s, %s, or %s in the file; for example %s", k.flag(), k.variable(), name, k.sample())})
}

// rule reports text at the first key when the rule is broken and all the keys are right by themselves.
func (l *loader) rule(broken bool, text string, keys ...string) {
	if broken && !slices.ContainsFunc(keys, func(name string) bool { return l.bad[name] }) {
		l.mistake(keys[0], text)
	}
}

func (l *loader) fillIn() {
	c := l.config
	if c.Space == "" && !l.bad["space"] && !l.bad["app"] {
		c.Space = c.App
		l.computed("space", c.Space)
	}
	if c.Session.Cookie == "" {
		c.Session.Cookie = "__Host-psid"
		if c.Session.InsecureCookie {
			c.Session.Cookie = "psid"
		}
		l.computed("session.cookie", c.Session.Cookie)
	}
}

func (l *loader) computed(name, value string) {
	if _, given := l.config.settings[name]; !given && value != "" {
		l.config.settings[name] = setting{[]string{value}, "default"}
	}
}

func (l *loader) checkCookie() {
	s := l.config.Session
	lower := strings.ToLower(s.Cookie)
	prefixed := strings.HasPrefix(lower, "__host-") || strings.HasPrefix(lower, "__secure-")
	l.rule(s.InsecureCookie && prefixed, s.Cookie+" is only kept with Secure: choose a name without that prefix, or leave session.insecure_cookie away",
		"session.cookie", "session.insecure_cookie")
	l.rule(s.InsecureCookie && s.SameSite == SameSiteNone, "None is only kept with Secure: choose Lax or Strict, or leave session.insecure_cookie away",
		"session.same_site", "session.insecure_cookie")
	l.rule(s.InsecureCookie && s.Partitioned, "is only kept with Secure: leave it away, or session.insecure_cookie",
		"session.partitioned", "session.insecure_cookie")
	l.rule(s.MaxAge > maxCookieAge, "is more than browsers keep: write at most 9600h (400 days)", "session.max_age")
}

func (l *loader) checkSession() {
	c := l.config
	l.rule(c.Session.Idle > c.Session.Lifetime, fmt.Sprintf("is longer than session.lifetime (%v): shorten it, or lengthen the lifetime", c.Session.Lifetime),
		"session.idle", "session.lifetime")
	l.rule(c.Sticky && c.Space != c.App, "Different apps in one space need sticky: false", "space", "app", "sticky")
	l.rule(!c.Sticky && c.Copies == 1, "is for sticky sessions, and sticky: false always keeps 2 copies: leave it away", "copies", "sticky")
	l.rule(c.Lock == LockPaths && len(c.LockPaths) == 0, "paths needs lock_paths; for example ^/cart/", "lock", "lock_paths")
	l.rule(c.Lock != LockPaths && len(c.LockPaths) > 0, "is used with lock: paths only", "lock_paths", "lock")
}

func (l *loader) checkRing() {
	r := l.config.Ring
	var names []string
	overTLS := false
	for _, n := range r.Nodes {
		names = append(names, n.Name)
		overTLS = overTLS || strings.HasPrefix(n.Address, "tls:")
	}
	all := len(names) > 0
	for _, name := range names {
		all = all && slices.Contains(r.LocalNodes.Names, name)
	}
	l.rule(all, "names every node, so that none of another machine is left: leave those of other machines away, or write none", "ring.local_nodes", "ring.nodes")
	strangers := slices.DeleteFunc(slices.Clone(r.LocalNodes.Names), func(name string) bool { return slices.Contains(names, name) })
	l.rule(len(strangers) > 0, fmt.Sprintf("%s: not in ring.nodes, which has %s", strings.Join(strangers, ", "), strings.Join(names, ", ")),
		"ring.local_nodes", "ring.nodes")
	for _, k := range []string{"ring.tls.ca", "ring.tls.cert", "ring.tls.key"} {
		_, given := l.config.settings[k]
		l.rule(given && !overTLS, "no node of ring.nodes is written tls:HOST:PORT, so that all would be spoken to in clear", k, "ring.nodes")
	}
}

func (l *loader) checkTrust() {
	c := l.config
	_, err := c.TLS.Server()
	l.verify(err, "tls.cert", "tls.key", "tls.client_ca")
	_, err = c.Ring.TLS.Client()
	l.verify(err, "ring.tls.cert", "ring.tls.key", "ring.tls.ca")
	_, err = c.ControlPlaneTLS.Client()
	l.verify(err, "control_plane_tls.cert", "control_plane_tls.key", "control_plane_tls.ca")
	_, _, err = c.Ring.Auth()
	l.verify(err, "ring.auth_file")
	_, err = c.AdminToken()
	l.verify(err, "admin_token_file")
	ids := map[string]bool{}
	for _, k := range c.Keys {
		ids[string(k.Content)] = true
	}
	l.rule(len(c.Peers) > 0 && len(c.Keys) == 0, "needs keys, by which sidecars know each other; pillion config key FILE makes one", "peers", "keys")
	l.rule(len(ids) < len(c.Keys), "two entries hold the same key: a new id needs a new key", "keys")
}

func (l *loader) checkControlPlane() {
	for _, k := range []string{"control_plane_tls.ca", "control_plane_tls.cert", "control_plane_tls.key", "advertise"} {
		_, given := l.config.settings[k]
		l.rule(given && len(l.config.ControlPlane) == 0, "is used with control_plane only", k, "control_plane")
	}
}

// verify reports err at the first of the keys that is set.
func (l *loader) verify(err error, keys ...string) {
	if err == nil {
		return
	}
	at := slices.IndexFunc(keys, func(name string) bool { _, given := l.config.settings[name]; return given })
	keys[0], keys[at] = keys[at], keys[0]
	l.rule(true, err.Error(), keys...)
}
