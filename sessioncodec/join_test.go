package sessioncodec

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawRecord draws from a small world, so that two draws meet in names, stamps and ties.
func drawRecord(t *rapid.T) *Record {
	pick := func(n int) int { return rapid.IntRange(0, n).Draw(t, "n") }
	r := &Record{
		State:   State(rapid.SampledFrom([]int{0, 0, 0, 0, 1, 1, 2}).Draw(t, "state")),
		Created: int64(10 + pick(2)), Accessed: int64(10 + pick(9)),
		Idle: uint32(pick(3)), Lifetime: uint32(100 + pick(2)),
		Life1: uint32(pick(1)), Life2: uint32(pick(1)),
	}
	if r.State == Destroyed {
		*r = r.tombstone()
		return r
	}
	r.Owner = Owner{Epoch: uint32(pick(2)), Route: rapid.SampledFrom([]string{"", "a1", "a2"}).Draw(t, "route"), Incarnation: uint64(pick(2))}
	for _, l := range []*Link{&r.To, &r.Prev} {
		*l = Link{Random: [16]byte{byte(pick(1))}, Issued: uint32(pick(1)), At: int64(pick(1))}
	}
	for id := range uint64(3) {
		if pick(1) == 1 {
			r.Extensions = append(r.Extensions, Extension{id, []byte{byte(pick(2))}})
		}
	}
	for _, name := range []string{"a", "b", "cart", "idle", "é"} {
		if pick(2) > 0 {
			r.Entries = append(r.Entries, drawEntry(t, name, Kind(rapid.SampledFrom([]int{0, 1, 2, 9}).Draw(t, "kind"))))
		}
	}
	for _, name := range []string{"a", "idle", "subject"} {
		if pick(3) == 0 {
			r.Entries = append(r.Entries, drawEntry(t, name, Reserved))
		}
	}
	r.followIdle()
	return r
}

func drawEntry(t *rapid.T, name string, kind Kind) Entry {
	e := Entry{Name: name, Kind: kind, Stamp: Stamp{
		Clock:  uint64(rapid.IntRange(12, 14).Draw(t, "clock")),
		Writer: uint64(rapid.IntRange(1, 2).Draw(t, "writer")),
	}}
	if kind != Deleted {
		e.Value = []byte(strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "value")))
	}
	return e
}

func clone(r *Record) *Record {
	c := *r
	c.Entries = slices.Clone(r.Entries)
	for i := range c.Entries {
		c.Entries[i].Value = slices.Clone(r.Entries[i].Value)
	}
	c.Extensions = slices.Clone(r.Extensions)
	return &c
}

// M10, K2: late, doubled and reordered writes do no harm.
func TestJoinIsASemilattice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawRecord(t), drawRecord(t), drawRecord(t)
		a0, b0 := clone(a), clone(b)
		ab := Join(a, b)
		law := func(name string, x, y *Record) {
			if !x.Same(y) {
				t.Fatalf("not %s:\n%+v\n%+v", name, x, y)
			}
		}
		law("idempotent", Join(a, clone(a)), a)
		law("commutative", ab, Join(b, a))
		law("associative", Join(ab, c), Join(a, Join(b, c)))
		law("monotone", Join(a, ab), ab)
		law("monotone", Join(ab, b), ab)
		law("neutral to nil", Join(a, nil), Join(nil, a))
		law("pure", a, a0)
		law("pure", b, b0)
		if err := ab.check(); err != nil {
			t.Fatalf("the join of two valid records is not valid: %v", err)
		}
		if ab.Life1 != a.Life1 || ab.Life2 != a.Life2 {
			t.Fatal("the lives are not the first argument's")
		}
		if Join(ab, b) != ab {
			t.Fatal("a join that adds nothing returns a new record")
		}
	})
}

// Equal state, epoch, owner and digest mean equal attributes: what the store relies on to skip opening a copy.
func TestDigestNamesTheWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawRecord(t), drawRecord(t)
		same := slices.EqualFunc(a.Entries, b.Entries, func(x, y Entry) bool { return byName(&x, &y) == 0 && x.Stamp == y.Stamp })
		if (a.Digest() == b.Digest()) != same {
			t.Fatalf("digests %x and %x of\n%+v\n%+v", a.Digest(), b.Digest(), a.Entries, b.Entries)
		}
	})
}

func TestJoinPartByPart(t *testing.T) {
	at := func(clock, writer uint64, kind Kind, name, value string) Entry {
		return Entry{Name: name, Kind: kind, Stamp: Stamp{clock, writer}, Value: []byte(value)}
	}
	live := func(entries ...Entry) *Record {
		r := &Record{Created: 10, Accessed: 20, Idle: 60, Lifetime: 600, Entries: entries}
		r.followIdle()
		return r
	}
	for _, c := range []struct {
		name       string
		a, b, want *Record
	}{
		{"parallel patches of different attributes survive",
			live(at(12, 1, JSON, "a", "1")), live(at(13, 2, JSON, "b", "2")),
			live(at(12, 1, JSON, "a", "1"), at(13, 2, JSON, "b", "2"))},
		{"the later write of one attribute wins", live(at(12, 9, JSON, "a", "1")), live(at(13, 1, JSON, "a", "0")), live(at(13, 1, JSON, "a", "0"))},
		{"the writer breaks a tie of clocks", live(at(12, 9, JSON, "a", "1")), live(at(12, 1, JSON, "a", "2")), live(at(12, 9, JSON, "a", "1"))},
		{"a deletion is a write", live(at(12, 1, JSON, "a", "1")), live(at(13, 1, Deleted, "a", "")), live(at(13, 1, Deleted, "a", ""))},
		{"a reserved name is another name", live(at(12, 1, JSON, "a", "1")), live(at(13, 1, Reserved, "a", "2")),
			live(at(12, 1, JSON, "a", "1"), at(13, 1, Reserved, "a", "2"))},
		{"an idle entry beats a smaller idle", live(), live(at(12, 1, Reserved, "idle", "3600")), live(at(12, 1, Reserved, "idle", "3600"))},
		{"the last idle entry decides", live(at(13, 1, Reserved, "idle", "9")), live(at(12, 1, Reserved, "idle", "3600")), live(at(13, 1, Reserved, "idle", "9"))},
		{"destroyed absorbs", live(at(12, 1, JSON, "a", "1")), &Record{State: Destroyed, Created: 10, Accessed: 15, Lifetime: 600},
			&Record{State: Destroyed, Created: 10, Accessed: 20, Lifetime: 600}},
		{"times", &Record{Created: 10, Accessed: 20, Idle: 5, Lifetime: 7}, &Record{Created: 11, Accessed: 30, Idle: 4, Lifetime: 8},
			&Record{Created: 10, Accessed: 30, Idle: 4, Lifetime: 7}},
		{"a higher epoch owns, whoever it is", &Record{Owner: Owner{1, "a9", 9}}, &Record{Owner: Owner{2, "a1", 1}}, &Record{Owner: Owner{2, "a1", 1}}},
		{"the later renewal is the successor", &Record{State: Superseded, To: Link{At: 5, Issued: 9}}, &Record{To: Link{At: 6}},
			&Record{State: Superseded, To: Link{At: 6}}},
	} {
		for _, got := range []*Record{Join(c.a, c.b), Join(c.b, c.a)} {
			if !got.Same(c.want) {
				t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
			}
		}
	}
}

// Two owners of one epoch whose hashes are equal, too: the bytes of the extension still order them.
func TestJoinOfOwnersWithOneHash(t *testing.T) {
	seen := map[uint32]Owner{}
	for i := uint64(1); ; i++ {
		o := Owner{Epoch: 1, Route: "a1", Incarnation: i}
		other, ok := seen[o.hash()]
		if !ok {
			seen[o.hash()] = o
			continue
		}
		a, b := &Record{Owner: o}, &Record{Owner: other}
		if !Join(a, b).Same(Join(b, a)) {
			t.Errorf("%+v and %+v depend on the order", o, other)
		}
		return
	}
}

func TestWithAndFind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		if r.State == Destroyed {
			return
		}
		before := clone(r)
		type key struct {
			name     string
			reserved bool
		}
		want := map[key]Entry{}
		for _, e := range r.Entries {
			want[key{e.Name, e.Kind == Reserved}] = e
		}
		var add []Entry
		for range rapid.IntRange(0, 6).Draw(t, "writes") {
			e := drawEntry(t, rapid.SampledFrom([]string{"a", "b", "new", "zz", "idle"}).Draw(t, "name"), Kind(rapid.IntRange(0, 3).Draw(t, "kind")))
			add = append(add, e)
			want[key{e.Name, e.Kind == Reserved}] = e
		}
		w := r.With(add...)
		if !r.Same(before) {
			t.Fatal("With changed its receiver")
		}
		if err := w.check(); err != nil || len(w.Entries) != len(want) {
			t.Fatalf("%d entries, want %d: %v", len(w.Entries), len(want), err)
		}
		for k, e := range want {
			find := w.Find
			if k.reserved {
				find = w.FindReserved
			}
			if got, ok := find(k.name); !ok || byWrite(&got, &e) != 0 {
				t.Fatalf("%v: found %v %v, want %v", k, got, ok, e)
			}
		}
		if _, ok := w.Find("absent"); ok {
			t.Fatal("found an attribute that is not there")
		}
	})
}

func TestExpired(t *testing.T) {
	r := &Record{Created: 1_000_000, Accessed: 2_000_000, Idle: 60, Lifetime: 1800}
	const slack = 5 * time.Second
	for _, c := range []struct {
		ms   int64
		want bool
	}{
		{1, false},
		{2_065_000, false}, // accessed + idle + slack
		{2_065_001, true},
	} {
		if got := r.Expired(time.UnixMilli(c.ms), slack); got != c.want {
			t.Errorf("at %d: %v", c.ms, got)
		}
	}
	r.Accessed = 2_790_000
	if r.Expired(time.UnixMilli(2_800_000), slack) || !r.Expired(time.UnixMilli(2_800_001), slack) {
		t.Error("a lifetime gets slack, or none of its last millisecond")
	}
}
