package config_test

import (
	"testing"
)

// TestIgnore shows msm's requestUriIgnorePattern without its trap: an ignored request costs no operation and cannot harm the session.
func TestIgnore(t *testing.T) {
	for file, stored := range map[string][]string{sticky: {"n1:- n2:1", "n1:- n2:2"}, shared: {"n1:1 n2:1", "n1:2 n2:2"}} {
		t.Run(file, func(t *testing.T) {
			s := start(t, file)
			v := &visitor{t: t}
			v.counts(s.m20, 1)
			s.wants(v, stored[0])
			cookie := v.cookie

			operations := s.operations(func() {
				for _, target := range []string{"/logo.png", "/style.css?version=3", "/a/b.js", "/favicon.ico"} {
					for _, m := range []*machine{s.m20, s.m21} {
						s.passes(v.get(m, target), target)
					}
				}
			})
			if len(operations) > 0 {
				t.Errorf("ignored requests cost %q", operations)
			}
			if v.cookie != cookie {
				t.Errorf("the cookie is %s, was %s", v.cookie, cookie)
			}
			if operations = s.operations(func() { v.counts(s.m20, 2); s.wants(v, stored[1]) }); len(operations) < 2 {
				t.Errorf("a write costs %q: are operations counted?", operations)
			}
		})
	}
}

// passes checks the answer to an ignored request: all the app said but what is Pillion's.
func (s *site) passes(a answer, target string) {
	s.t.Helper()
	if a.body != "" {
		s.t.Errorf("%s: the app was given %s", target, a.body)
	}
	if cookies := a.header.Values("Set-Cookie"); len(cookies) != 1 || cookies[0] != "theme=dark" {
		s.t.Errorf("%s: Set-Cookie %q, want the app's other one alone", target, cookies)
	}
	if patch, op := a.header.Values("Pillion-Patch"), a.header.Values("Pillion-Op"); len(patch)+len(op) > 0 {
		s.t.Errorf("%s: the visitor sees Pillion-Patch %q, Pillion-Op %q", target, patch, op)
	}
}

// operations is what both nodes were asked for while do ran.
func (s *site) operations(do func()) []string {
	s.t.Helper()
	var first, second []string
	first = s.m20.node.operations(s.t, func() { second = s.m21.node.operations(s.t, do) })
	return append(first, second...)
}

// TestTranscoder shows what replaced transcoderFactoryClass: a session of 4 KB is stored as a compressed, sealed blob.
func TestTranscoder(t *testing.T) {
	const size = 4096
	s := start(t, shared)
	v := &visitor{t: t}
	v.get(s.m20, "/size?bytes=4096")
	for _, n := range []*node{s.m20.node, s.m21.node} {
		blob, err := n.get(s.key(v))
		if err != nil || len(blob) < 72 {
			t.Fatalf("%s holds %d bytes: %v", n.name, len(blob), err)
		}
		if algorithms := blob[3]; algorithms != 0x23 || len(blob) > size/2 {
			t.Errorf("%s holds %d bytes under algorithms %#x, want Snappy (3) in XAES-256-GCM (2)", n.name, len(blob), algorithms)
		}
	}
}
