package sidecar_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func ignoring(path string) func(*setup) {
	return func(s *setup) { s.Ignore = []*regexp.Regexp{regexp.MustCompile(path)} }
}

// The rows about caches: no cache ever mixes two visitors up, and who has no session stays cacheable.
func TestOddCaches(t *testing.T) {
	const private = "private, no-cache"
	for _, row := range []struct {
		name    string
		known   bool // the visitor has a session
		app     []string
		control string // Cache-Control of the answer
		vary    string
		cookie  bool
		counted bool
	}{
		{"nobody's", false, nil, "", "", false, false},
		{"nobody's, public", false, []string{"Cache-Control", "public, max-age=60"}, "public, max-age=60", "", false, false},
		{"with a session", true, nil, private, "Cookie", false, false},
		{"with a session, the app decides", true, []string{"Cache-Control", "max-age=60"}, "max-age=60", "Cookie", false, false},
		{"with a session, public", true, []string{"Cache-Control", "public"}, "public", "Cookie", false, false},
		{"vary is merged", true, []string{"Vary", "Accept-Encoding"}, private, "Accept-Encoding, Cookie", false, false},
		{"vary has it", true, []string{"Vary", "accept, COOKIE"}, private, "accept, COOKIE", false, false},
		{"vary is *", true, []string{"Vary", "*"}, private, "*", false, false},
		{"birth", false, []string{"Pillion-Patch", `{"a":1}`}, private, "Cookie", true, false},
		{"birth, public", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "public"}, "private, no-store", "Cookie", true, true},
		{"birth, s-maxage", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "max-age=1, s-maxage=5"}, "private, no-store", "Cookie", true, true},
		{"birth, in two lines", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "max-age=1", "Cache-Control", "PUBLIC"}, "private, no-store", "Cookie", true, true},
		{"birth, max-age", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "max-age=60"}, "max-age=60; private", "Cookie", true, false},
		{"birth, no-cache", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "No-Cache"}, "No-Cache; private", "Cookie", true, false},
		{"birth, private in part", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", `private="X-A", max-age=9`}, `private="X-A", max-age=9; private`, "Cookie", true, false},
		{"birth, private", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "max-age=60, PRIVATE"}, "max-age=60, PRIVATE", "Cookie", true, false},
		{"birth, no-store", false, []string{"Pillion-Patch", `{"a":1}`, "Cache-Control", "no-store"}, "no-store", "Cookie", true, false},
		{"birth, for a CDN", false, []string{"Pillion-Patch", `{"a":1}`, "CDN-Cache-Control", "max-age=9", "Surrogate-Control", "max-age=9"}, private, "Cookie", true, false},
		{"renewal, max-age", true, []string{"Pillion-Op", "renew", "Cache-Control", "max-age=60"}, "max-age=60; private", "Cookie", true, false},
		{"renewal, public", true, []string{"Pillion-Op", "renew", "Cache-Control", "public"}, "private, no-store", "Cookie", true, true},
		{"logout", true, []string{"Pillion-Op", "destroy"}, private, "Cookie", true, false},
		{"logout, public", true, []string{"Pillion-Op", "destroy", "Cache-Control", "public"}, "private, no-store", "Cookie", true, true},
		{"a write, public", true, []string{"Pillion-Patch", `{"b":1}`, "Cache-Control", "public"}, "public", "Cookie", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, _ *fleet, p *process) {
				v := p.visitor()
				if row.known {
					v.get(patch(`{"before":1}`))
				}
				a := v.get(says(row.app...))
				control, vary := strings.Join(a.Header["Cache-Control"], "; "), strings.Join(a.Header["Vary"], ", ")
				if control != row.control || vary != row.vary || (a.setCookie() != "") != row.cookie {
					t.Errorf("Cache-Control %q, Vary %q, cookie %q", control, vary, a.setCookie())
				}
				if row.cookie && (a.Header["Cdn-Cache-Control"] != nil || a.Header["Surrogate-Control"] != nil) {
					t.Errorf("a CDN may keep the cookie: %v", a.Header)
				}
				if n := p.counted("contract_errors_total", "public_with_cookie"); (n == 1) != row.counted {
					t.Errorf("counted %v times", n)
				}
			})
		})
	}
}

// A relocation's or takeover's cookie is no reason to make a public answer private: it waits for the next one.
func TestOddPublicAnswerDefersTheCookie(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		before := v.id()
		f.node(v.parsed().Node).kill()
		if p.setup.Sticky {
			p.kill()
			v.at = f.sidecar("b2", p.alike)
		}
		a := v.get(says("Pillion-Patch", `{"b":2}`, "Cache-Control", "public, max-age=60"))
		if a.Header.Get("Cache-Control") != "public, max-age=60" || a.setCookie() != "" || v.id() != before {
			t.Errorf("%v", a.Header)
		}
		wait(time.Second)
		if a := v.get(patch(`{"c":3}`)); a.setCookie() == "" {
			t.Error("the next answer has no cookie")
		}
		v.must(`{"a":1,"b":2,"c":3}`)
	})
}

// An answer to a cookie that is no session any more is private too: it was made for this visitor.
func TestOddStaleCookieIsPrivate(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor().take(p.forge(t, secret))
		if a := v.get(nil); a.Header.Get("Cache-Control") != "private, no-cache" || a.Header.Get("Vary") != "Cookie" {
			t.Errorf("%v", a.Header)
		}
	})
}
