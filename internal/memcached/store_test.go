package memcached

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// testStore is a store over real servers n1, n2, ..., with a log that can be read.
func testStore(t testing.TB, o Options, servers ...*real) *Store {
	t.Helper()
	for i, r := range servers {
		o.Nodes = append(o.Nodes, ring.Node{Name: fmt.Sprintf("n%d", i+1), Address: r.Addr})
	}
	return newStore(t, o)
}

func newStore(t testing.TB, o Options) *Store {
	t.Helper()
	o.Space = "shop"
	if o.OpTimeout == 0 {
		o.OpTimeout = time.Second
	}
	if o.Codec == nil {
		o.Codec = testCodec(t)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func testCodec(t testing.TB) *sessioncodec.Codec {
	key := sessioncodec.Key{ID: 1, Secret: bytes.Repeat([]byte{7}, 32)}
	codec, err := sessioncodec.New(sessioncodec.Options{Space: "shop", Seal: &key})
	if err != nil {
		t.Fatal(err)
	}
	return codec
}

func newID(t testing.TB, node string) ring.ID {
	t.Helper()
	id, err := ring.NewID(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id.Node = node
	return id
}

// writes numbers the stamps of a test's process: each writer has its own, so that the clock may stand still.
var writes atomic.Uint64

// entry is an attribute with a stamp newer than any before.
func entry(name, value string) sessioncodec.Entry {
	return sessioncodec.Entry{
		Name: name, Kind: sessioncodec.JSON, Value: []byte(value),
		Stamp: sessioncodec.Stamp{Clock: uint64(time.Now().UnixMilli()), Writer: writes.Add(1)},
	}
}

func record(entries ...sessioncodec.Entry) *sessioncodec.Record {
	now := time.Now().UnixMilli()
	r := &sessioncodec.Record{Created: now - 1000, Accessed: now, Idle: 1800, Lifetime: 86400}
	return r.With(entries...)
}

// joining is a write of mine as the session engine does it.
func joining(mine *sessioncodec.Record, w store.Write) store.Write {
	w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
		return sessioncodec.Join(mine, stored), nil
	}
	return w
}

func birth(mine *sessioncodec.Record) store.Write {
	return joining(mine, store.Write{Copies: 2, Wait: store.Both, Birth: true})
}

func update(mine *sessioncodec.Record) store.Write {
	return joining(mine, store.Write{Copies: 2, Wait: store.Both})
}

// mustSave waits for a first acknowledgement as a request does (commit_timeout), on a busy machine longer.
func mustSave(t testing.TB, s *Store, id ring.ID, w store.Write) store.Saved {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	saved, err := s.Save(ctx, id, w)
	if err != nil {
		t.Fatalf("save: %v", err)
	}
	return saved
}

func mustLoad(t testing.TB, s *Store, id ring.ID, reach store.Reach) store.Found {
	t.Helper()
	found, err := s.Load(context.Background(), id, reach)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return found
}

func value(r *sessioncodec.Record, name string) string {
	if r == nil {
		return ""
	}
	e, _ := r.Find(name)
	return string(e.Value)
}

// holding counts the nodes that hold the attribute.
func holding(s *Store, id ring.ID, name string) (nodes []string) {
	for _, c := range s.Copies(context.Background(), ring.StorageKey(s.space, id.Random)) {
		if value(c.Record, name) != "" {
			nodes = append(nodes, c.Node)
		}
	}
	return nodes
}

func TestBirthUpdateLoad(t *testing.T) {
	s := testStore(t, Options{}, startReal(t), startReal(t))
	id := newID(t, "n2")
	first := record(entry("a", `1`))
	saved := mustSave(t, s, id, birth(first))
	if saved.Node != "n2" || saved.Acks != 2 || saved.Short || !saved.Record.Same(first) {
		t.Fatalf("saved %+v", saved)
	}
	found := mustLoad(t, s, id, store.Near)
	if !found.Record.Same(first) || found.Short || found.Seen.Node != "n2" {
		t.Fatalf("found %+v", found)
	}
	w := update(found.Record.With(entry("b", `2`)))
	w.Seen = found.Seen
	mustSave(t, s, id, w)
	if got := holding(s, id, "b"); len(got) != 2 {
		t.Fatalf("b is on %v", got)
	}
	if got := mustLoad(t, s, newID(t, "n1"), store.Near); got.Record != nil {
		t.Fatalf("a session that never was: %+v", got)
	}
}

// DESIGN 9: a shared read is one get; a write of both copies is four operations, in shared mode including the load.
func TestOperationCounts(t *testing.T) {
	servers := []*real{startReal(t), startReal(t)}
	s := testStore(t, Options{}, servers...)
	id := newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r))
	counts := func() (n [4]int) {
		n[0], n[1] = servers[0].Operations()
		n[2], n[3] = servers[1].Operations()
		return n
	}
	check := func(what string, want [4]int, do func()) {
		t.Helper()
		before := counts()
		do()
		after := counts()
		for i := range after {
			after[i] -= before[i]
		}
		if after != want {
			t.Errorf("%s: gets and writes of n1, n2 = %v, want %v", what, after, want)
		}
	}
	var found store.Found
	check("read", [4]int{1, 0, 0, 0}, func() { found = mustLoad(t, s, id, store.Near) })
	w := update(r.With(entry("b", `2`)))
	w.Seen = found.Seen
	check("shared write", [4]int{0, 1, 1, 1}, func() { mustSave(t, s, id, w) })
	check("sticky write", [4]int{1, 1, 1, 1}, func() { mustSave(t, s, id, update(r.With(entry("c", `3`)))) })
	one := update(r.With(entry("d", `4`)))
	one.Copies = 1
	check("sticky write of one copy", [4]int{1, 1, 0, 0}, func() { mustSave(t, s, id, one) })
	born := newID(t, "n1")
	check("birth", [4]int{0, 1, 0, 1}, func() { mustSave(t, s, born, birth(record(entry("a", `1`)))) })
	check("nothing to write", [4]int{1, 0, 1, 0}, func() { mustSave(t, s, born, update(nil)) })
}

// M1: gomemcache sends an empty key, and memcached reads the value as a command.
func TestEmptyKeyIsNeverSent(t *testing.T) {
	a := startReal(t)
	s := testStore(t, Options{}, a)
	n := s.fleet.Load().byName["n1"]
	if _, err := n.put(item{}, "", []byte("flush_all"), 0); !errors.Is(err, errNoKey) {
		t.Errorf("put: %v", err)
	}
	if _, err := n.get(""); !errors.Is(err, errNoKey) {
		t.Errorf("get: %v", err)
	}
}

func TestSetNodes(t *testing.T) {
	a, b, c := startReal(t), startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	s.Start(context.Background())
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	kept := s.fleet.Load().byName["n2"]
	if err := s.SetNodes([]ring.Node{{Name: "n2", Address: b.Addr}, {Name: "n3", Address: c.Addr}}); err != nil {
		t.Fatal(err)
	}
	if s.fleet.Load().byName["n2"] != kept {
		t.Error("an unchanged node lost its connections")
	}
	found := mustLoad(t, s, id, store.Near) // its id names a node that is no longer there
	if value(found.Record, "a") != `1` || !found.Short {
		t.Fatalf("found %+v", found)
	}
	if saved := mustSave(t, s, id, update(found.Record)); saved.Node == "n1" || saved.Acks != 2 {
		t.Fatalf("saved %+v", saved)
	}
	if nodes := holding(s, id, "a"); !slices.Equal(nodes, []string{"n2", "n3"}) {
		t.Errorf("a is on %v", nodes)
	}
	if err := s.SetNodes([]ring.Node{{Name: "n2"}}); err == nil {
		t.Error("a node without an address was taken")
	}
}
