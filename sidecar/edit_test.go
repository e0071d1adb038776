package sidecar

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

func newEdit(t interface{ Fatal(...any) }, clock *Clock, loaded *sessioncodec.Record, patch string) *edit {
	changes, err := sessioncodec.ParsePatch([]byte(patch))
	if err != nil {
		t.Fatal(err)
	}
	return &edit{in: &instructions{changes: changes}, loaded: loaded, clock: clock, now: 2, limit: 1 << 20}
}

func object(r *sessioncodec.Record) string { return string(sessioncodec.AppendObject(nil, r)) }

// Two requests that merge into one attribute at once: whoever writes second merges again on what is there, and both nodes end equal.
func TestEditMergesAgainOnNewerValue(t *testing.T) {
	c1, c2 := NewClock(1, func() {}), NewClock(2, func() {})
	base := &sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}
	first, second := newEdit(t, c1, base, `{"cart":{"a":1}}`), newEdit(t, c2, base, `{"cart":{"b":2}}`)
	for _, e := range []*edit{first, second} {
		if _, err := e.on(base); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := first.join(base)
	if err != nil {
		t.Fatal(err)
	}
	stored, err = second.join(stored)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := object(stored), `{"cart":{"a":1,"b":2}}`; got != want {
		t.Errorf("stored %s, want %s", got, want)
	}
	// A node where the second edit came first.
	other, _ := second.join(base)
	if got := object(sessioncodec.Join(other, stored)); got != object(stored) {
		t.Errorf("the other node ends with %s", got)
	}
}

// Any number of requests patch attributes of their own, in any order of arrival at two nodes: nothing is lost.
func TestEditLosesNoAttribute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := &sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}
		nodes := [2]*sessioncodec.Record{base, base}
		n := rapid.IntRange(1, 6).Draw(t, "requests")
		var edits []*edit
		want := map[string]bool{}
		for i := range n {
			name := fmt.Sprintf("k%d", i)
			want[name] = true
			e := newEdit(t, NewClock(uint64(i), func() {}), base, fmt.Sprintf(`{%q:%d,"shared":{%q:1}}`, name, i, name))
			if _, err := e.on(nodes[rapid.IntRange(0, 1).Draw(t, "read")]); err != nil {
				t.Fatal(err)
			}
			edits = append(edits, e)
		}
		for range 3 { // each write converges as the store does: until what was written is the same everywhere
			for _, i := range rapid.Permutation([]int{0, 1}).Draw(t, "nodes") {
				for _, e := range rapid.Permutation(edits).Draw(t, "edits") {
					stored, err := e.join(nodes[i])
					if err != nil {
						t.Fatal(err)
					}
					nodes[i] = stored
				}
			}
		}
		joined := sessioncodec.Join(nodes[0], nodes[1])
		for name := range want {
			if _, ok := joined.Find(name); !ok {
				t.Fatalf("%s is lost: %s", name, object(joined))
			}
			shared, _ := joined.Find("shared")
			if !containsName(string(shared.Value), name) {
				t.Fatalf("%s is lost in the merged attribute: %s", name, shared.Value)
			}
		}
	})
}

func containsName(object, name string) bool {
	changes, err := sessioncodec.ParsePatch([]byte(object))
	if err != nil {
		return false
	}
	for _, c := range changes {
		if c.Name == name {
			return true
		}
	}
	return false
}

// K15: a locked edit does not write over a value that came after its load, in memory or in a node; what it wrote elsewhere is given back.
func TestExactEditMeetsNewerValue(t *testing.T) {
	base := (&sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}).With(entry("n", "1", 5))
	newer := base.With(entry("n", "2", 9))
	e := newEdit(t, NewClock(1, func() {}), base, `{"n":2}`)
	e.exact = true
	if _, err := e.on(newer); !errors.Is(err, errLockLost) {
		t.Errorf("on memory that moved: %v", err)
	}
	e = newEdit(t, NewClock(1, func() {}), base, `{"n":7}`)
	e.exact = true
	if _, err := e.on(base); err != nil {
		t.Fatal(err)
	}
	taken, err := e.join(base)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.join(newer); !errors.Is(err, errLockLost) {
		t.Fatalf("on a node that moved: %v", err)
	}
	back, ok := e.giveBack()
	if !ok {
		t.Fatal("nothing is given back")
	}
	restored, err := back.Join(taken)
	if err != nil {
		t.Fatal(err)
	}
	if got := object(restored); got != `{"n":2}` {
		t.Errorf("the copy that took the edit holds %s, want the other's value back", got)
	}
	stale := (&sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}).With(entry("n", "0", 3))
	e = newEdit(t, NewClock(1, func() {}), base, `{"n":2}`)
	e.exact = true
	if _, err := e.on(base); err != nil {
		t.Fatal(err)
	}
	if _, err := e.join(stale); err != nil {
		t.Errorf("an older copy is repaired, not a conflict: %v", err)
	}
}

func entry(name, value string, clock uint64) sessioncodec.Entry {
	return sessioncodec.Entry{Name: name, Value: []byte(value), Stamp: sessioncodec.Stamp{Clock: clock, Writer: 99}}
}

func TestEditEqualValueIsNoChange(t *testing.T) {
	base := (&sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}).With(entry("n", "1", 5), entry("cart", `{"a":1}`, 5))
	for patch, want := range map[string]bool{
		`{}`: false, `{"n":1}`: false, `{"n":2}`: true, `{"gone":null}`: false, `{"n":null}`: true, `{"cart":{"a":1}}`: false, `{"cart":{"a":null}}`: true,
	} {
		changed, err := newEdit(t, NewClock(1, func() {}), base, patch).on(base)
		if err != nil || changed != want {
			t.Errorf("%s: changed %v, %v; want %v", patch, changed, err, want)
		}
	}
}

func TestEditTooLarge(t *testing.T) {
	base := &sessioncodec.Record{Created: 1, Idle: 60, Lifetime: 60}
	e := newEdit(t, NewClock(1, func() {}), base, `{"n":"0123456789"}`)
	e.limit = 10
	if _, err := e.on(base); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v", err)
	}
	large := base.With(sessioncodec.Entry{Name: "n", Value: []byte(`"0123456789"`), Stamp: sessioncodec.Stamp{Clock: 1, Writer: 1}})
	for patch, want := range map[string]error{`{"n":"01234567"}`: nil, `{"n":null}`: nil, `{"m":1}`: errTooLarge} {
		e := newEdit(t, NewClock(1, func() {}), large, patch)
		e.limit = 10
		if _, err := e.on(large); !errors.Is(err, want) {
			t.Errorf("%s of one that is too large: %v, want %v", patch, err, want)
		}
	}
}
