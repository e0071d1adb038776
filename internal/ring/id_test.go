package ring

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

const token = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop"

func mustParse(t testing.TB, text string) ID {
	t.Helper()
	id, err := ParseID(text)
	if err != nil {
		t.Fatalf("ParseID(%q): %v", text, err)
	}
	return id
}

func newID(t testing.TB, random io.Reader) ID {
	t.Helper()
	id, err := NewID(random, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// The rewriting rules of msm's SessionIdFormat, on ids of ours.
func TestRewriting(t *testing.T) {
	setNode := func(node string) func(*ID) { return func(id *ID) { id.Node = node } }
	setRoute := func(route string) func(*ID) { return func(id *ID) { id.Route = route } }
	for _, c := range []struct {
		op, before string
		change     func(*ID)
		after      string
	}{
		{"add node", "", setNode("n"), "-n"},
		{"add node", ".jvm1", setNode("n"), "-n.jvm1"},
		{"add node", ".j-v-m1", setNode("n"), "-n.j-v-m1"},
		{"add no node", ".jvm1", setNode(""), ".jvm1"},
		{"replace node", "-n", setNode("m"), "-m"},
		{"replace node", "-n.jvm1", setNode("m"), "-m.jvm1"},
		{"replace node", "-n.j-v-m1", setNode("m"), "-m.j-v-m1"},
		{"strip route", "-n.jvm1", setRoute(""), "-n"},
		{"strip route", ".jvm1", setRoute(""), ""},
		{"set route", "-n", setRoute("jvm2"), "-n.jvm2"},
		{"set route", "-n.j-v-m1", setRoute("jvm2"), "-n.jvm2"},
		{"set route", "", setRoute("jvm2"), ".jvm2"},
	} {
		id := mustParse(t, token+c.before)
		c.change(&id)
		if got := id.String(); got != token+c.after {
			t.Errorf("%s on %q: %q, want %q", c.op, c.before, got[len(token):], c.after)
		}
	}
}

func TestExtracting(t *testing.T) {
	for rest, want := range map[string]struct{ node, route string }{
		"":                    {"", ""},
		"-n":                  {"n", ""},
		"-n.jvm1":             {"n", "jvm1"},
		"-n_2.j-v-m1":         {"n_2", "j-v-m1"},
		".jvm1":               {"", "jvm1"},
		".jvm1-n":             {"", "jvm1-n"}, // a dash behind the dot belongs to the route
		".-":                  {"", "-"},
		"-0123456789abcdef.r": {"0123456789abcdef", "r"},
	} {
		if id := mustParse(t, token+rest); id.Node != want.node || id.Route != want.route {
			t.Errorf("%q: node %q, route %q", rest, id.Node, id.Route)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"short token":       token[1:],
		"long token":        token + "a",
		"dot in route":      token + ".n.jvm1",
		"dots in route":     token + "-n.jvm.1",
		"empty node":        token + "-",
		"empty node, route": token + "-.jvm1",
		"empty route":       token + "-n.",
		"dash in node":      token + "-n-1",
		"long node":         token + "-0123456789abcdefg",
		"long route":        token + "." + strings.Repeat("r", 33),
		"node upper case":   token + "-N1",
		"route upper case":  token + ".Jvm1",
		"token upper case":  strings.ToUpper(token),
		"padding":           token[:40] + "========",
		"digits 0 and 1":    "01" + token[2:],
		"newline":           token[:47] + "\n",
		"newline before":    "\n" + token[1:],
		"space":             token + " ",
		"NUL":               token + "-n\x00",
		"not ASCII":         token + "-nö",
		"a key":             "p1:shop:" + token,
		"command":           token[:40] + "\r\nflush_all",
	} {
		if id, err := ParseID(text); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %q is %+v", name, text, id)
		}
	}
}

// C1: fixed length, never twice, and 128 bits of it random.
func TestIDsAreUnique(t *testing.T) {
	const n = 100_000
	var ones [128]int
	seen := make(map[[16]byte]bool, n)
	for range n {
		id := newID(t, rand.Reader)
		if text := id.String(); len(text) != 48 {
			t.Fatalf("%q has %d characters", text, len(text))
		}
		if seen[id.Random] {
			t.Fatal("the same id twice")
		}
		seen[id.Random] = true
		for bit := range ones {
			ones[bit] += int(id.Random[bit/8]>>(bit%8)) & 1
		}
	}
	for bit, count := range ones { // 10 standard deviations
		if count < n/2-1600 || count > n/2+1600 {
			t.Errorf("bit %d is set in %d of %d ids", bit, count, n)
		}
	}
}

// The first 32 characters are a session's for life: relocation, takeover and key rotation change only what follows.
func TestFirst32CharactersStay(t *testing.T) {
	keys, moved := mustKeys(t, "shop", 1), mustKeys(t, "shop", 2)
	id := newID(t, rand.Reader)
	before := keys.Sign(id).String()
	id.Node, id.Route, id.Epoch = "n2", "app2", 7
	after := moved.Sign(id).String()
	if before[:32] != after[:32] || before[32:48] == after[32:48] {
		t.Errorf("%s became %s", before, after)
	}
	if born := mustParse(t, after).Born(); !born.Equal(time.Unix(1_800_000_000, 0)) {
		t.Errorf("born %v", born)
	}
}

func TestNewIDWithoutRandomness(t *testing.T) {
	if _, err := NewID(bytes.NewReader(make([]byte, 15)), time.Now()); err == nil {
		t.Error("15 random bytes made an id")
	}
}

func TestEpochBefore(t *testing.T) {
	for _, c := range []struct {
		a, b   uint16
		before bool
	}{
		{1, 2, true}, {2, 1, false}, {5, 5, false},
		{65535, 0, true}, {0, 65535, false}, // RFC 1982: the number after the last is 0
		{65000, 500, true}, {500, 65000, false},
		{0, 32767, true}, {32767, 0, false},
	} {
		if got := EpochBefore(c.a, c.b); got != c.before {
			t.Errorf("EpochBefore(%d, %d) = %v", c.a, c.b, got)
		}
	}
}

// The one spelling of an id (C2): what ParseID takes, String writes.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"", token, token + "-n1.app1", token + ".a-1", token + "-", token + "-n1.", "A" + token[1:], token[:47] + "\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if got := id.String(); got != text {
			t.Errorf("%q is spelled %q", text, got)
		}
		if id.Node != "" && !ValidNode(id.Node) || id.Route != "" && !ValidRoute(id.Route) {
			t.Errorf("%q has node %q, route %q", text, id.Node, id.Route)
		}
	})
}
