package memcached

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// K3: parallel writers of different attributes lose nothing, whether they write one copy, two or all.
func TestConflictStorm(t *testing.T) {
	a, b := startReal(t), startReal(t)
	for _, copies := range []int{0, 1, 2} {
		t.Run(fmt.Sprintf("copies=%d", copies), func(t *testing.T) { storm(t, copies, a, b) })
	}
}

func storm(t *testing.T, copies int, a, b *real) {
	const writers, each = 6, 8
	id := newID(t, "n1")
	mustSave(t, testStore(t, Options{}, a, b), id, birth(record(entry("x", `0`))))
	var acked sync.Map
	var all sync.WaitGroup
	for w := range writers {
		s := testStore(t, Options{}, a, b)
		all.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d_%d", w, i)
				mine := record(entry(name, `1`))
				w := update(mine)
				w.Copies = copies
				if _, err := s.Save(context.Background(), id, w); err == nil {
					acked.Store(name, true)
				} else if !errors.Is(err, store.ErrUnacknowledged) {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	all.Wait()
	count := 0
	s := testStore(t, Options{}, a, b)
	found := mustLoad(t, s, id, store.Everywhere)
	for name := range acked.Range {
		count++
		if value(found.Record, name.(string)) == "" {
			t.Errorf("acknowledged %s is lost", name)
		}
	}
	if count < writers*each*9/10 {
		t.Errorf("only %d of %d writes were acknowledged", count, writers*each)
	}
}

// A logout that a late write of an older state does not undo, whether a node lost the tombstone or not.
func TestTombstoneStaysAgainstLateRefill(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	live := record(entry("a", `1`))
	mustSave(t, s, id, birth(live))
	tomb := &sessioncodec.Record{State: sessioncodec.Destroyed, Created: live.Created, Accessed: live.Accessed, Lifetime: live.Lifetime}
	if saved := mustSave(t, s, id, joining(tomb, store.Write{Wait: store.Both, Refill: true})); saved.Acks != 2 {
		t.Fatalf("tombstone: %+v", saved)
	}
	a.Flush()
	late := joining(live.With(entry("b", `2`)), store.Write{Copies: 2, Wait: store.Both, Refill: true})
	if saved := mustSave(t, s, id, late); saved.Record.State != sessioncodec.Destroyed {
		t.Fatalf("late refill made %+v", saved.Record)
	}
	for _, c := range s.Copies(context.Background(), ring.StorageKey("shop", id.Random)) {
		if c.Record == nil || c.Record.State != sessioncodec.Destroyed {
			t.Errorf("%s holds %+v", c.Node, c.Record)
		}
	}
}

// Refill decides what a write does that meets the session nowhere.
func TestMissedEverywhere(t *testing.T) {
	s := testStore(t, Options{}, startReal(t), startReal(t))
	id := newID(t, "n1")
	if _, err := s.Save(context.Background(), id, update(record(entry("a", `1`)))); !errors.Is(err, store.ErrGone) {
		t.Fatalf("err = %v, want ErrGone", err)
	}
	w := update(record(entry("a", `1`)))
	w.Refill = true
	if saved := mustSave(t, s, id, w); saved.Acks != 2 {
		t.Fatalf("refill: %+v", saved)
	}
}

func TestClosureErrorEndsTheWrite(t *testing.T) {
	s := testStore(t, Options{}, startReal(t), startReal(t))
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	stop := errors.New("no")
	for _, copies := range []int{0, 1, 2} {
		ended := make(chan error, 1)
		_, err := s.Save(context.Background(), id, store.Write{
			Copies: copies, Wait: store.Both,
			Join: func(*sessioncodec.Record) (*sessioncodec.Record, error) { return nil, stop },
			Done: func(_ store.Saved, err error) { ended <- err },
		})
		if done := <-ended; !errors.Is(err, stop) || !errors.Is(done, stop) {
			t.Errorf("copies %d: %v, done %v", copies, err, done)
		}
	}
}

// Copies that differ are equal after one write that sees both.
func TestCopiesConverge(t *testing.T) {
	s := testStore(t, Options{}, startReal(t), startReal(t))
	id, other := newID(t, "n1"), newID(t, "n2")
	other.Random = id.Random
	base := record(entry("a", `1`))
	one := joining(base.With(entry("b", `1`)), store.Write{Copies: 1, Wait: store.Both, Birth: true})
	mustSave(t, s, id, one)
	two := joining(base.With(entry("c", `1`)), store.Write{Copies: 1, Wait: store.Both, Birth: true})
	mustSave(t, s, other, two)
	if got := mustLoad(t, s, id, store.Everywhere); !got.Short {
		t.Error("copies that differ are not short")
	}
	mustSave(t, s, id, update(base))
	for _, name := range []string{"b", "c"} {
		if nodes := holding(s, id, name); len(nodes) != 2 {
			t.Errorf("%s is on %v", name, nodes)
		}
	}
	if got := mustLoad(t, s, id, store.Everywhere); got.Short {
		t.Error("equal copies are short")
	}
}

// A blob that does not open is no copy: it is counted, logged by ref alone, and replaced by the next write.
func TestDamagedBlob(t *testing.T) {
	a, b := startReal(t), startReal(t)
	var log bytes.Buffer
	s := testStore(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, a, b)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("secret", `"x"`))))
	key := ring.StorageKey("shop", id.Random)
	a.Command("set "+key+" 0 0 5\r\nwrong", "STORED")
	found := mustLoad(t, s, id, store.Near)
	if value(found.Record, "secret") != `"x"` || !found.Short || found.Seen.Node != "n2" {
		t.Fatalf("found %+v", found)
	}
	if text := log.String(); !bytes.Contains([]byte(text), []byte(refOf(key))) || bytes.Contains([]byte(text), []byte("p1:")) {
		t.Errorf("log: %s", text)
	}
	mustSave(t, s, id, update(found.Record.With(entry("b", `1`))))
	if nodes := holding(s, id, "b"); len(nodes) != 2 {
		t.Errorf("after the next write b is on %v", nodes)
	}
}

func TestTooLargeIsNotSent(t *testing.T) {
	a := startReal(t)
	s := testStore(t, Options{}, a)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	noise := make([]byte, 1<<20)
	rand.Read(noise)
	big := sessioncodec.Entry{Name: "big", Kind: sessioncodec.Opaque, Value: noise, Stamp: entry("", "").Stamp}
	_, err := s.Save(context.Background(), id, update(record(big)))
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("err = %v", err)
	}
	if got := mustLoad(t, s, id, store.Near); value(got.Record, "a") != `1` {
		t.Fatalf("the session before is gone: %+v", got)
	}
}

func TestTTL(t *testing.T) {
	s := &Store{touchSlack: 2 * time.Minute}
	now := time.UnixMilli(1_800_000_000_000)
	at := func(ageSeconds int64) int64 { return now.UnixMilli() - ageSeconds*1000 }
	for _, c := range []struct {
		name string
		r    sessioncodec.Record
		want int32
	}{
		{"idle", sessioncodec.Record{Created: at(0), Idle: 1800, Lifetime: 86400}, 1920},
		{"end of lifetime", sessioncodec.Record{Created: at(86400 - 30), Idle: 1800, Lifetime: 86400}, 90},
		{"tombstone", sessioncodec.Record{State: sessioncodec.Destroyed, Created: at(400), Lifetime: 1000}, 660},
		{"past", sessioncodec.Record{Created: at(10_000), Idle: 1800, Lifetime: 1000}, 1},
		{"30 days", sessioncodec.Record{Created: at(0), Idle: 30*86400 - 120, Lifetime: 9e6}, 30 * 86400},
		{"more is a date (M9)", sessioncodec.Record{Created: at(0), Idle: 30 * 86400, Lifetime: 9e6}, 1_800_000_000 + 30*86400 + 120},
		{"after 2038", sessioncodec.Record{Created: at(0), Idle: 4e9, Lifetime: 4e9}, 1<<31 - 1},
	} {
		if got := s.ttl(&c.r, now); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// The second copy is the first one's bytes, whichever lane is faster: they are sealed once, and a reader of both opens one.
func TestCopiesAreTheSameBytes(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	mine := record(entry("a", `0`))
	mustSave(t, s, id, birth(mine))
	get := "get " + ring.StorageKey(s.space, id.Random)
	for i := range 200 {
		mine = mine.With(entry("a", fmt.Sprint(i)))
		mustSave(t, s, id, update(mine))
		if first, second := a.Command(get, "END"), b.Command(get, "END"); !slices.Equal(first, second) {
			t.Fatalf("after %d writes the copies differ in their bytes", i+1)
		}
	}
}

// F4: the anchor is written before every other node, whatever its name, and only over a copy that it holds.
func TestAnchorIsWrittenFirst(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	anchored := func(id ring.ID, mine *sessioncodec.Record) (first string, err error) {
		w := update(mine)
		join := w.Join
		var mu sync.Mutex
		var met []string
		w.Join = func(stored *sessioncodec.Record) (*sessioncodec.Record, error) {
			mu.Lock()
			defer mu.Unlock()
			met = append(met, value(stored, "on"))
			return join(stored)
		}
		w.Copies, w.Wait, w.Anchor = 0, store.Both, "n2"
		_, err = s.Save(context.Background(), id, w)
		mu.Lock()
		defer mu.Unlock()
		if len(met) > 0 {
			first = met[0]
		}
		return first, err
	}
	held := newID(t, "n2")
	for node, r := range map[string]*sessioncodec.Record{"n1": record(entry("on", `1`)), "n2": record(entry("on", `2`))} {
		w := birth(r)
		w.Copies = 1
		mustSave(t, s, ring.ID{Random: held.Random, Issued: held.Issued, Node: node}, w)
	}
	if first, err := anchored(held, record(entry("x", `0`))); err != nil || first != `2` {
		t.Errorf("first was the copy %s (%v), want that of n2", first, err)
	}
	missing := newID(t, "n2")
	w := birth(record(entry("on", `1`)))
	w.Copies = 1
	mustSave(t, s, ring.ID{Random: missing.Random, Issued: missing.Issued, Node: "n1"}, w)
	if _, err := anchored(missing, record(entry("x", `0`))); !errors.Is(err, store.ErrUnacknowledged) {
		t.Errorf("without a copy on the anchor: %v", err)
	}
	if found := mustLoad(t, s, missing, store.Everywhere); value(found.Record, "x") != "" {
		t.Error("another node was written although the anchor has no copy")
	}
}
