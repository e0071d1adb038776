package memcached

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// stateOf is a node's state as /status shows it.
func stateOf(s *Store, name string) State {
	for _, n := range s.Nodes() {
		if n.Name == name {
			return n.State
		}
	}
	return ""
}

// heard collects the nodes that NewLife named.
type heard struct {
	mu    sync.Mutex
	count map[string]int
}

func (h *heard) of(node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[string]int{}
	}
	h.count[node]++
}

func (h *heard) times(node string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[node]
}

// A node is killed, its sessions go on elsewhere; it returns empty, is told of, and gets its copies back.
func TestKillAndReturnEmpty(t *testing.T) {
	a, b := startReal(t), startReal(t)
	var news heard
	s := testStore(t, Options{NewLife: news.of}, a, b)
	s.Start(t.Context())
	id := newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r))
	a.Kill()

	found := mustLoad(t, s, id, store.Near)
	if value(found.Record, "a") != `1` {
		t.Fatalf("found %+v", found)
	}
	saved := mustSave(t, s, id, update(r.With(entry("b", `2`))))
	if saved.Node != "n2" || saved.Acks != 1 || !saved.Short {
		t.Fatalf("saved %+v", saved)
	}
	if got := stateOf(s, "n1"); got != Down {
		t.Errorf("n1 is %s", got)
	}
	if got := s.Place(); got != "n2" {
		t.Errorf("a new session is placed on %q", got)
	}

	a.Start()
	eventually(t, "n1 is back", func() bool { return stateOf(s, "n1") == Suspect })
	eventually(t, "NewLife", func() bool { return news.times("n1") == 1 })
	id.Node = "n2"
	if found = mustLoad(t, s, id, store.Near); !found.Short {
		t.Error("the copy on n2 names a life of n1 that is over, and is not short")
	}
	mustSave(t, s, id, update(found.Record))
	if nodes := holding(s, id, "b"); len(nodes) != 2 {
		t.Errorf("b is on %v", nodes)
	}
	if found = mustLoad(t, s, id, store.Near); found.Short {
		t.Error("still short after the repair")
	}
}

// frozenTimeout is what a frozen node costs each request, and more than a busy machine keeps one waiting that is well.
const frozenTimeout = 400 * time.Millisecond

// A node is back with what it had, and the other one, which took the writes meanwhile, is silent: the old copy is no answer. Nor is it one
// once that node is down for its silence, until it is known to be dead.
func TestOldCopyIsNotBelievedAlone(t *testing.T) {
	t.Parallel()
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{OpTimeout: frozenTimeout}, a, b)
	s.Start(t.Context())
	id, seen := newID(t, "n1"), newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r))
	mustSave(t, s, seen, birth(r))
	a.Freeze()
	t.Cleanup(a.Thaw)
	for i := 0; stateOf(s, "n1") != Down; i++ {
		r = r.With(entry("a", fmt.Sprint(i+10)))
		w := update(r)
		w.Wait = store.First
		mustSave(t, s, id, w)
	}
	a.Thaw()
	eventually(t, "n1 is back", func() bool { return stateOf(s, "n1") == Suspect })
	now := *r
	eventually(t, "a copy is written on both", func() bool {
		now.Accessed = time.Now().UnixMilli()
		return mustSave(t, s, seen, update(&now)).Acks == 2
	})
	b.Freeze()
	believed := func() bool {
		found, err := s.Load(context.Background(), id, store.Near)
		if err != nil && !errors.Is(err, store.ErrUnknown) {
			t.Error(err)
		}
		return err == nil && value(found.Record, "a") != ""
	}
	if believed() {
		t.Error("the old copy was believed")
	}
	if found, err := s.Load(context.Background(), seen, store.Near); err != nil || value(found.Record, "a") != value(r, "a") {
		t.Errorf("a copy that was written since: %+v, %v", found, err)
	}
	eventually(t, "n2 is down", func() bool {
		if believed() {
			t.Fatal("the old copy was believed")
		}
		return stateOf(s, "n2") == Down
	})
	if believed() {
		t.Error("the old copy was believed, the newer one's node being down")
	}
	b.Kill()
	eventually(t, "n2 is known to be dead", believed)
}

// gomemcache's pooled connections each fail once after a restart; none of that reaches a request.
func TestRestartIsNotNoticedByRequests(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r))
	var all sync.WaitGroup
	for range 32 { // fills the pool
		all.Go(func() { mustLoad(t, s, id, store.Near) })
	}
	all.Wait()
	a.Kill()
	a.Start()
	for i := range 64 {
		all.Go(func() {
			if found, err := s.Load(context.Background(), id, store.Near); err != nil || value(found.Record, "a") != `1` {
				t.Errorf("load %d: %+v, %v", i, found, err)
			}
		})
	}
	all.Wait()
	if got := stateOf(s, "n1"); got != Suspect {
		t.Errorf("n1 is %s, want suspect: it has a new life", got)
	}
}

// M10: CAS numbers begin anew with each process, so an old token could match a newer item.
func TestTokenOfAnEarlierLifeIsNeverSent(t *testing.T) {
	a := startReal(t)
	s := testStore(t, Options{Copies: 1}, a)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	found := mustLoad(t, s, id, store.Near)
	a.Kill()
	a.Start()
	other := testStore(t, Options{Copies: 1}, a)
	newer := record(entry("b", `2`))
	mustSave(t, other, id, birth(newer))
	if now := mustLoad(t, other, id, store.Near); now.Seen.CAS != found.Seen.CAS {
		t.Fatalf("the test means nothing: tokens %d and %d differ", now.Seen.CAS, found.Seen.CAS)
	}
	mustLoad(t, s, newID(t, "n1"), store.Near) // a pooled connection into the new life
	w := update(found.Record.With(entry("c", `3`)))
	w.Seen = found.Seen
	mustSave(t, s, id, w)
	got := mustLoad(t, other, id, store.Near)
	for _, name := range []string{"a", "b", "c"} {
		if value(got.Record, name) == "" {
			t.Errorf("%s is lost", name)
		}
	}
}

// The same below Save: between the read and the cas another request may have opened connections into the new life.
func TestTokenStaysWithItsLife(t *testing.T) {
	a := startReal(t)
	s := testStore(t, Options{}, a)
	id := newID(t, "n1")
	n, key := s.fleet.Load().byName["n1"], ring.StorageKey("shop", id.Random)
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	old, err := n.get(key)
	if err != nil {
		t.Fatal(err)
	}
	a.Kill()
	a.Start()
	mustSave(t, testStore(t, Options{}, a), id, birth(record(entry("b", `2`))))
	fresh, err := n.get(key)
	if err != nil || fresh.life == old.life {
		t.Fatalf("no new life: %v", err)
	}
	old.cas = fresh.cas
	if conflict, err := n.put(old, key, []byte("stale"), 60); err != nil || !conflict {
		t.Errorf("a token of an earlier life: conflict %v, %v", conflict, err)
	}
	if found := mustLoad(t, s, id, store.Near); value(found.Record, "b") != `2` {
		t.Errorf("found %+v", found)
	}
}

// A frozen node costs a request one timeout, three take it down, and what it was sent does not come back when it thaws.
func TestFrozenNode(t *testing.T) {
	t.Parallel()
	a, b := startReal(t), startReal(t)
	s := testStore(t, Options{OpTimeout: frozenTimeout}, a, b)
	s.Start(t.Context())
	id := newID(t, "n1")
	r := record(entry("a", `1`))
	mustSave(t, s, id, birth(r))
	a.Freeze()
	t.Cleanup(a.Thaw)
	for i := range 5 {
		r = r.With(entry("a", fmt.Sprint(i+10)))
		w := update(r)
		w.Wait = store.First
		if saved := mustSave(t, s, id, w); saved.Node != "n2" {
			t.Fatalf("saved %+v", saved)
		}
	}
	found := mustLoad(t, s, id, store.Near)
	if value(found.Record, "a") != `14` {
		t.Fatalf("found %+v", found)
	}
	eventually(t, "n1 is down", func() bool { return stateOf(s, "n1") == Down })
	a.Thaw()
	eventually(t, "n1 is back", func() bool { return stateOf(s, "n1") == Suspect })
	if found = mustLoad(t, s, id, store.Near); value(found.Record, "a") != `14` || !found.Short {
		t.Errorf("a suspect node's own copy was believed: %+v", found)
	}
	mustSave(t, s, id, update(found.Record))
	eventually(t, "both nodes hold the newest", func() bool {
		copies := s.Copies(context.Background(), ring.StorageKey("shop", id.Random))
		return value(copies[0].Record, "a") == `14` && value(copies[1].Record, "a") == `14`
	})
}

// A flush_all leaves the connections alone: only the canary tells.
func TestFlush(t *testing.T) {
	a, b := startReal(t), startReal(t)
	var news heard
	s := testStore(t, Options{NewLife: news.of}, a, b)
	s.Start(t.Context())
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	a.Flush()
	if found := mustLoad(t, s, id, store.Near); value(found.Record, "a") != `1` || !found.Short {
		t.Fatalf("found %+v", found)
	}
	eventually(t, "NewLife", func() bool { return news.times("n1") == 1 })
	b.Flush()
	a.Flush()
	if found := mustLoad(t, s, id, store.Near); found.Record != nil || !found.Lost {
		t.Errorf("found %+v, want a lost session", found)
	}
}

// DESIGN 6: a miss is not an absence.
func TestMissIsNotAbsence(t *testing.T) {
	a, b := startReal(t), startReal(t)
	old, fresh := newID(t, "n1"), newID(t, "n1")
	old.Issued -= 7200  // before the life of its node began
	fresh.Issued -= 100 // after
	born := make([]byte, 8)
	binary.BigEndian.PutUint64(born, uint64(time.Now().Add(-time.Hour).UnixMilli()))
	for i, r := range []*real{a, b} {
		r.Command(fmt.Sprintf("set %s 0 0 16\r\nlife000%d%s", markKey, i, born), "STORED")
	}
	s := testStore(t, Options{OpTimeout: 200 * time.Millisecond}, a, b)
	elsewhere, gone, nowhere := fresh, fresh, fresh
	elsewhere.Node, gone.Node, nowhere.Node = "n2", "n7", ""

	for _, id := range []ring.ID{old, fresh, elsewhere, gone, nowhere} {
		found := mustLoad(t, s, id, store.Near)
		if found.Record != nil || found.Lost != (id == old) {
			t.Errorf("all answer, id of %q: %+v", id.Node, found)
		}
	}
	b.Kill()
	var unknown *store.UnknownError
	for _, reach := range []store.Reach{store.Near, store.Everywhere} {
		if found := mustLoad(t, s, fresh, reach); found.Record != nil {
			t.Errorf("its own node missed: %+v", found)
		}
		for _, c := range []struct {
			id   ring.ID
			node string
		}{{old, ""}, {elsewhere, "n2"}, {gone, ""}, {nowhere, ""}} {
			_, err := s.Load(context.Background(), c.id, reach)
			if !errors.As(err, &unknown) || unknown.Node != c.node || unknown.All {
				t.Errorf("n2 is dead, id of %q: %v", c.id.Node, err)
			}
		}
	}
	// A flush that the poll has not noticed yet makes the own node's miss worthless.
	a.Flush()
	if _, err := s.Load(context.Background(), fresh, store.Near); !errors.As(err, &unknown) {
		t.Errorf("own node flushed, the other dead: %v", err)
	}
	a.Kill()
	if _, err := s.Load(context.Background(), fresh, store.Near); !errors.As(err, &unknown) || !unknown.All || unknown.Node != "n1" {
		t.Errorf("all dead: %v", err)
	}
	if !errors.Is(unknown, store.ErrUnknown) {
		t.Error("UnknownError is not ErrUnknown")
	}
}

func TestAllNodesDownAtStart(t *testing.T) {
	a, b := startReal(t), startReal(t)
	a.Kill()
	b.Kill()
	s := testStore(t, Options{}, a, b)
	s.Start(t.Context())
	id := newID(t, "")
	eventually(t, "both are down", func() bool { return s.Place() == "" })
	if s.Reachable() {
		t.Error("reachable")
	}
	var unknown *store.UnknownError
	if _, err := s.Load(context.Background(), id, store.Near); !errors.As(err, &unknown) || !unknown.All {
		t.Errorf("load: %v", err)
	}
	if _, err := s.Save(context.Background(), id, birth(record())); !errors.Is(err, store.ErrUnacknowledged) {
		t.Errorf("save: %v", err)
	}
	if _, err := s.Lock(context.Background(), id, time.Second, func() {}); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("lock: %v", err)
	}
	b.Start()
	eventually(t, "n2 is found", func() bool { return s.Place() == "n2" && s.Reachable() })
	if saved := mustSave(t, s, id, birth(record(entry("a", `1`)))); saved.Node != "n2" || !saved.Short {
		t.Errorf("saved %+v", saved)
	}
}

// With three nodes, a copy that cannot be written goes to the next of the order.
func TestThirdNodeTakesOver(t *testing.T) {
	servers := []*real{startReal(t), startReal(t), startReal(t)}
	s := testStore(t, Options{}, servers...)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	servers[0].Kill()
	saved := mustSave(t, s, id, update(record(entry("b", `2`))))
	if saved.Acks != 2 || saved.Short || saved.Node == "n1" {
		t.Fatalf("saved %+v", saved)
	}
	if nodes := holding(s, id, "b"); len(nodes) != 2 {
		t.Errorf("b is on %v", nodes)
	}
	tomb := &sessioncodec.Record{State: sessioncodec.Destroyed, Created: saved.Record.Created, Lifetime: 86400}
	all := mustSave(t, s, id, joining(tomb, store.Write{Wait: store.Both, Refill: true}))
	if all.Acks != 2 || !all.Short {
		t.Errorf("a tombstone with a node away: %+v", all)
	}
}
