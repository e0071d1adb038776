package sidecar

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Groups of changes that several sidecars commit at once, in any order of arrival at two nodes: nothing is lost, each group counts as if its
// changes had come one after the other.
func TestGroupIsOneCommitAfterAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := (&sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}).With(entry("shared", `{"old":1}`, 5))
		nodes := [2]*sessioncodec.Record{base, base}
		var groups []*group
		want, last := map[string]bool{}, map[string]bool{}
		for i := range rapid.IntRange(1, 3).Draw(t, "groups") {
			g, clock := &group{forget: func(r *sessioncodec.Record) *sessioncodec.Record { return r }}, NewClock(uint64(i), func() {})
			n := rapid.IntRange(1, 4).Draw(t, "changes")
			for j := range n {
				name := fmt.Sprintf("k%d-%d", i, j)
				want[name] = true
				last[fmt.Sprintf(`"same":"%d-%d"`, i, j)] = j == n-1
				text := fmt.Sprintf(`{%q:1,"shared":{%q:1,"same":"%d-%d"}}`, name, name, i, j)
				g.changes = append(g.changes, &change{v: &visit{}, e: newEdit(t, clock, base, text)})
			}
			if !g.on(nodes[rapid.IntRange(0, 1).Draw(t, "read")]) {
				t.Fatal("nothing to write")
			}
			groups = append(groups, g)
		}
		store := func() {
			for _, i := range rapid.Permutation([]int{0, 1}).Draw(t, "nodes") {
				for _, g := range rapid.Permutation(groups).Draw(t, "order") {
					stored, err := g.join(nodes[i])
					if err != nil {
						t.Fatal(err)
					}
					nodes[i] = stored
				}
			}
		}
		for range 4 {
			store()
		}
		if len(groups) == 1 {
			before := nodes
			if store(); !nodes[0].Same(before[0]) || !nodes[1].Same(before[1]) {
				t.Fatalf("a group writes again over itself: %s", object(nodes[0]))
			}
		}
		joined := sessioncodec.Join(nodes[0], nodes[1]) // as all copies are once the commits have ended
		shared, _ := joined.Find("shared")
		for name := range want {
			if _, ok := joined.Find(name); !ok || !containsName(string(shared.Value), name) {
				t.Fatalf("%s is lost: %s", name, object(joined))
			}
		}
		changes, err := sessioncodec.ParsePatch(shared.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range changes {
			if c.Name == "same" && !last[fmt.Sprintf(`"same":%s`, c.Value)] {
				t.Fatalf("%s was overwritten by its own group, and is there: %v", c.Value, last)
			}
		}
	})
}
