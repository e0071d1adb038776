package ring

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// nodesOf reads nodes written as "name", "name@host" and "name!" for a local one.
func nodesOf(spec string) (nodes []Node) {
	for word := range strings.FieldsSeq(spec) {
		name, local := strings.CutSuffix(word, "!")
		name, host, _ := strings.Cut(name, "@")
		nodes = append(nodes, Node{Name: name, Host: host, Local: local})
	}
	return nodes
}

func namesOf(nodes []Node) (names []string) {
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return names
}

func keyOf(i int) string { return StorageKey("shop", [16]byte{byte(i), byte(i >> 8), byte(i >> 16)}) }

// Every node has its share of the first and of the second places.
func TestOrderIsBalanced(t *testing.T) {
	const keys = 50_000
	for _, spec := range []string{"n1 n2", "n1 n2 n3", "a b c d e", "cache_1 cache_2 cache_3 cache_4 cache_5 cache_6 cache_7 cache_8"} {
		nodes := nodesOf(spec)
		first, second := map[string]int{}, map[string]int{}
		for i := range keys {
			order := Order(nodes, keyOf(i))
			first[order[0].Name]++
			second[order[1].Name]++
		}
		fair := keys / len(nodes)
		for _, n := range nodes {
			for place, count := range map[string]int{"first": first[n.Name], "second": second[n.Name]} {
				if count < fair*9/10 || count > fair*11/10 {
					t.Errorf("%s: %s is %s for %d of %d keys, fair is %d", spec, n.Name, place, count, keys, fair)
				}
			}
		}
	}
}

// Pairs too: a dead node's second copies are spread over all others.
func TestSecondCopiesSpread(t *testing.T) {
	const keys = 40_000
	nodes := nodesOf("n1 n2 n3 n4 n5")
	beside := map[string]int{}
	for i := range keys {
		beside[WriteOrder(nodes, keyOf(i), "n1")[1].Name]++
	}
	for _, n := range nodes[1:] {
		if count := beside[n.Name]; count < keys/4*9/10 || count > keys/4*11/10 {
			t.Errorf("%s holds the second copy of %d of n1's %d sessions", n.Name, count, keys)
		}
	}
}

func drawNodes(t *rapid.T) []Node {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z0-9_]{1,16}`), 1, 9, rapid.ID[string]).Draw(t, "names")
	nodes := make([]Node, len(names))
	for i, name := range names {
		nodes[i] = Node{
			Name: name, Local: rapid.Bool().Draw(t, "local"),
			Host: rapid.SampledFrom([]string{"", "h1", "h2", "h3"}).Draw(t, "host"),
		}
	}
	return nodes
}

func TestOrderProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t)
		key := rapid.StringMatching(`p1:shop:[A-Za-z0-9_-]{32}`).Draw(t, "key")
		order := Order(nodes, key)
		if shuffled := rapid.Permutation(nodes).Draw(t, "shuffled"); !slices.Equal(Order(shuffled, key), order) {
			t.Fatal("the order depends on the list's")
		}
		// Minimal disruption: without one node the others stay in their order.
		gone := rapid.SampledFrom(nodes).Draw(t, "gone").Name
		is := func(n Node) bool { return n.Name == gone }
		if got, want := Order(slices.DeleteFunc(slices.Clone(nodes), is), key), slices.DeleteFunc(slices.Clone(order), is); !slices.Equal(got, want) {
			t.Fatalf("without %s: %v, want %v", gone, namesOf(got), namesOf(want))
		}
	})
}

func TestWriteOrderProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		nodes := drawNodes(t)
		key := rapid.StringMatching(`[A-Za-z0-9_-]{32}`).Draw(t, "key")
		first := rapid.SampledFrom(append(namesOf(nodes), "", "removed")).Draw(t, "first")
		before := slices.Clone(nodes)
		order := WriteOrder(nodes, key, first)
		if !slices.Equal(nodes, before) {
			t.Fatal("WriteOrder changed its argument")
		}
		hrw := Order(nodes, key)
		rank := func(n Node) int { return slices.Index(hrw, n) }
		lead := order[0]
		for i, n := range order {
			if i == 0 {
				continue
			}
			prev := order[i-1]
			sameHost := func(n Node) bool { return n.Host != "" && n.Host == lead.Host }
			switch {
			case prev.Local && !n.Local:
				t.Fatalf("local %s is before foreign %s", prev.Name, n.Name)
			case n.Name == first && prev.Local == n.Local:
				t.Fatalf("%s, which the id names, is behind %s", first, prev.Name)
			case prev.Local != n.Local || prev.Name == first || i == 1:
			case !n.Local && sameHost(prev) && !sameHost(n):
				t.Fatalf("%s on the first copy's host is before %s", prev.Name, n.Name)
			case (n.Local || sameHost(prev) == sameHost(n)) && rank(prev) > rank(n):
				t.Fatalf("%s and %s are not in rendezvous order", prev.Name, n.Name)
			}
		}
		if len(order) != len(nodes) {
			t.Fatal("a node got lost")
		}
		checkReadOrder(t, ReadOrder(nodes, key, first), order, first)
	})
}

// checkReadOrder: the id's node, then as written.
func checkReadOrder(t *rapid.T, read, written []Node, first string) {
	is := func(n Node) bool { return n.Name == first }
	if slices.ContainsFunc(written, is) {
		if read[0].Name != first {
			t.Fatalf("%s, which the id names, is not asked first", first)
		}
		read = read[1:]
	}
	if !slices.Equal(read, slices.DeleteFunc(slices.Clone(written), is)) {
		t.Fatalf("read %v, written %v", namesOf(read), namesOf(written))
	}
}

// msm's rules for the next node and for a takeover (its tests' items 7 and 9), where a list's order is rendezvous here.
func TestPlacement(t *testing.T) {
	key := keyOf(1)
	for _, c := range []struct {
		name, nodes, first string
		written, read      string
	}{
		{"one node has no next", "n1", "n1", "n1", "n1"},
		{"two nodes", "n1 n2", "n2", "n2 n1", "n2 n1"},
		{"the second copy on another host", "n1@a n2@a n3@b", "n1", "n1 n3 n2", "n1 n3 n2"},
		{"none on another host", "n1@a n2@a", "n2", "n2 n1", "n2 n1"},
		{"a local one is the last", "n1! n2", "n2", "n2 n1", "n2 n1"},
		{"from a local one back to a foreign one", "n1! n2", "n1", "n2 n1", "n1 n2"},
		{"the local one that holds it before other local ones", "n1! n2! n3", "n2", "n3 n2 n1", "n2 n3 n1"},
		{"a removed node", "n1! n2", "n9", "n2 n1", "n2 n1"},
		{"an id without node", "n1! n2", "", "n2 n1", "n2 n1"},
	} {
		nodes := nodesOf(c.nodes)
		if got := strings.Join(namesOf(WriteOrder(nodes, key, c.first)), " "); got != c.written {
			t.Errorf("%s: written to %s, want %s", c.name, got, c.written)
		}
		if got := strings.Join(namesOf(ReadOrder(nodes, key, c.first)), " "); got != c.read {
			t.Errorf("%s: read from %s, want %s", c.name, got, c.read)
		}
	}
}

// The node of a new session (msm's item 8).
func TestPick(t *testing.T) {
	nodes := nodesOf("n1! n2 n3 n4!")
	for _, c := range []struct{ up, from string }{
		{"n1 n2 n3 n4", "n2 n3"}, // foreign ones first
		{"n1 n3 n4", "n3"},
		{"n1 n4", "n1 n4"}, // else local ones
		{"n4", "n4"},
		{"", ""},
	} {
		up := strings.Fields(c.up)
		got := map[string]int{}
		for i := range uint64(1000) {
			got[Pick(nodes, func(name string) bool { return slices.Contains(up, name) }, i*0x9e3779b97f4a7c15)]++
		}
		from := strings.Fields(c.from)
		if c.from == "" {
			from = []string{""}
		}
		for _, name := range from {
			if fair := 1000 / len(from); got[name] < fair*8/10 {
				t.Errorf("up %q: %s was picked %d times, fair is %d", c.up, name, got[name], fair)
			}
		}
		if len(got) != len(from) {
			t.Errorf("up %q: picked %v, want only %q", c.up, got, from)
		}
	}
}

// Pinned: sidecars of two versions, and those of two machines, must find each other's copies.
func TestWeightIsPartOfTheFormat(t *testing.T) {
	for in, want := range map[[2]string]uint64{
		{"n1", "p1:shop:abc"}: 0x3a88553a9b1151b1,
		{"n2", "p1:shop:abc"}: 0x4377a44c7a69e5c4,
		{"n", "1p1:shop:abc"}: 0x2fd35a2ec3976e2a,
	} {
		if got := weight(in[0], in[1]); got != want {
			t.Errorf("weight(%q) = %#x, want %#x", in, got, want)
		}
	}
}

func BenchmarkReadOrder(b *testing.B) {
	for _, n := range []int{2, 3, 8} {
		var nodes []Node
		for i := range n {
			nodes = append(nodes, Node{Name: fmt.Sprintf("n%d", i), Host: fmt.Sprintf("h%d", i)})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key := keyOf(1)
			b.ReportAllocs()
			for b.Loop() {
				ReadOrder(nodes, key, "n1")
			}
		})
	}
}
