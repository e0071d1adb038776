package sidecar_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pillion-proxy/pillion/internal/memcachedtest"
)

// F4: with copies: 1, while the owner neither answers nor refuses, a takeover writes the node that the id names first, and over the copy that it
// holds. Where that node takes nothing, no other node gets the reading either: the owner may have committed since, on the named node alone.
func TestTakeoverFromASilentOwnerIsAnchored(t *testing.T) {
	for _, row := range []struct {
		name string
		harm func(*node) // as the claim comes to the named node
	}{
		{"the named node falls silent", func(n *node) { n.silence(true) }},
		{"the named node loses the copy", func(n *node) { n.server.FlushAll() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFleet(t, 2)
				l, p := familyLike(f, func(s *setup) { s.Copies, s.ring.Copies = 1, 1 }, "a1", "a2")
				v := p[0].visitor()
				v.get(patch(`{"n":1}`))
				named, other := f.holders(v.id())
				l.set(func() { l.cut["a2>a1"], l.cut["a1>a2"] = true, true })

				reads := 0
				named.server.Fault(func(c memcachedtest.Command) memcachedtest.Action {
					if strings.HasPrefix(c.Key, "p1:"+space) && c.Name == "gets" {
						if reads++; reads == 3 { // the owner is asked after the first, and the claim begins after the second
							row.harm(named)
						}
					}
					return memcachedtest.Action{}
				})
				a := v.through(p[1]).get(patch(`{"n":1.5}`))
				named.server.Fault(nil)
				if a.StatusCode != 503 || a.token() != "ring_unknown" || a.app != nil {
					t.Errorf("%d %s", a.StatusCode, a.token())
				}
				if reads < 3 {
					t.Errorf("the named node was read %d times: the test does not come to the claim", reads)
				}
				if slices.ContainsFunc(other.server.Keys(), func(key string) bool { return strings.HasPrefix(key, "p1:"+space) }) {
					t.Error("the reading was put on the other node")
				}
			})
		})
	}
}
