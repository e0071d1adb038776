package sidecar

import (
	"slices"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Whatever is in the jar: a home that is there, or none; and the first cookie of the name that has one decides.
func FuzzHomeOf(f *testing.F) {
	f.Add("a=1; psid=token-n1.a1", `psid="t.a2"`)
	f.Add("psid=;psid=.;psid=..a1", "")
	homes := map[string]string{"a1": "10.0.0.1:80", "a2": "10.0.0.2:80"}
	f.Fuzz(func(t *testing.T, one, two string) {
		fields := head.Fields{{Name: "Cookie", Value: one}, {Name: "cookie", Value: two}}
		got := homeOf(fields, "psid", homes)
		var all []string
		for _, pair := range strings.Split(one+";"+two, ";") {
			if name, value, ok := strings.Cut(pair, "="); ok && strings.TrimSpace(name) == "psid" {
				value = strings.TrimSuffix(strings.TrimSpace(value), `"`)
				if at := strings.LastIndex(value, "."); at >= 0 {
					all = append(all, homes[value[at+1:]])
					continue
				}
			}
			if strings.TrimSpace(strings.SplitN(pair, "=", 2)[0]) == "psid" {
				all = append(all, "")
			}
		}
		all = all[:min(len(all), maxCandidates)]
		want := ""
		if i := slices.IndexFunc(all, func(home string) bool { return home != "" }); i >= 0 {
			want = all[i]
		}
		if got != want {
			t.Errorf("%q and %q lead to %q, want %q", one, two, got, want)
		}
	})
}
