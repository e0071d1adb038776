package sidecar

import (
	"strings"
	"testing"
)

func TestNormalTarget(t *testing.T) {
	for target, want := range map[string]string{
		"/":                      "/",
		"/a/b?c=/../d":           "/a/b?c=/../d",
		"/a/./b":                 "/a/b",
		"/a/../b":                "/b",
		"/../../b":               "/b",
		"/a/..":                  "/",
		"/a/.":                   "/a/",
		"/a/b/..":                "/a/",
		"/..":                    "/",
		"/.":                     "/",
		"/a//../b":               "/a/b",
		"//a":                    "//a",
		"/a/...":                 "/a/...",
		"/a/..b":                 "/a/..b",
		"/a.b":                   "/a.b",
		"/.well-known/x":         "/.well-known/x",
		`/a\b`:                   "/a/b",
		`/a\..\b`:                "/b",
		"/%41%7e%2d":             "/A~-",
		"/%2e%2E/b":              "/b",
		"/a%2fb":                 "/a%2fb",
		"/a%5Cb":                 "/a%5Cb",
		"/%":                     "/%",
		"/%4":                    "/%4",
		"/%zz":                   "/%zz",
		"/%C3%A9":                "/%C3%A9",
		"/\xc3\xa9":              "/%C3%A9",
		"/<a>":                   "/%3Ca%3E",
		"/a?b<":                  "/a?b<",
		"*":                      "*",
		"/a/%2e":                 "/a/",
		"/.?q":                   "/?q",
		"/a;b=1/,c@d:e!$&'()*+=": "/a;b=1/,c@d:e!$&'()*+=",
	} {
		if got, ok := normalTarget(target); got != want || !ok {
			t.Errorf("%q becomes %q, %t, want %q", target, got, ok, want)
		}
	}
	for _, target := range []string{"/%00", "/a/%00/..", "", "x", "?a", "/%%341", "/%%32e/b", "/\x00"} {
		if got, ok := normalTarget(target); ok {
			t.Errorf("%q becomes %q", target, got)
		}
	}
}

// What is normal stays so, and has nothing left that two readers could read differently.
func FuzzNormalTarget(f *testing.F) {
	f.Add("/a/%2e./b?c")
	f.Fuzz(func(t *testing.T, target string) {
		once, ok := normalTarget(target)
		if !ok || once == "*" {
			return
		}
		twice, ok := normalTarget(once)
		path, _, _ := strings.Cut(once, "?")
		if !ok || twice != once {
			t.Errorf("%q becomes %q, and that %q", target, once, twice)
		}
		if !strings.HasPrefix(path, "/") || strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") || strings.Contains(path, `\`) {
			t.Errorf("%q becomes %q", target, once)
		}
	})
}
