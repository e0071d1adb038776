package memcached

import (
	"context"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/pillion-proxy/pillion/internal/store"
)

// While one node at a time loses its memory and a touch follows each loss, every acknowledged write is read by every sidecar.
func TestAcknowledgedWritesSurviveLosses(t *testing.T) {
	servers := []*real{startReal(t), startReal(t), startReal(t)}
	var stores []*Store
	for range 3 {
		stores = append(stores, testStore(t, Options{}, servers...))
	}
	rapid.Check(t, func(t *rapid.T) {
		id := newID(servers[0].t, rapid.SampledFrom([]string{"n1", "n2", "n3"}).Draw(t, "node"))
		one := func() *Store { return rapid.SampledFrom(stores).Draw(t, "store") }
		save := func(w store.Write) {
			saved, err := one().Save(context.Background(), id, w)
			if err != nil {
				t.Fatalf("save: %v", err)
			}
			id.Node = saved.Node
		}
		load := func(reach store.Reach) store.Found {
			found, err := one().Load(context.Background(), id, reach)
			if err != nil || found.Record == nil {
				t.Fatalf("load: %+v, %v", found, err)
			}
			return found
		}
		save(birth(record()))
		acked := 0
		t.Repeat(map[string]func(*rapid.T){
			"write": func(*rapid.T) {
				save(update(record(entry(fmt.Sprintf("w%d", acked), `1`))))
				acked++
			},
			"read then write": func(*rapid.T) {
				found := load(store.Near)
				w := update(found.Record.With(entry(fmt.Sprintf("w%d", acked), `1`)))
				w.Seen = found.Seen
				save(w)
				acked++
			},
			"lose": func(t *rapid.T) {
				r := rapid.SampledFrom(servers).Draw(t, "server")
				if rapid.IntRange(0, 9).Draw(t, "restart") == 9 { // it takes long
					r.Kill()
					r.Start()
				} else {
					r.Flush()
				}
				save(update(load(store.Everywhere).Record))
			},
			"": func(t *rapid.T) {
				found := load(rapid.SampledFrom([]store.Reach{store.Near, store.Everywhere}).Draw(t, "reach"))
				for i := range acked {
					if name := fmt.Sprintf("w%d", i); value(found.Record, name) == "" {
						t.Fatalf("%s is lost", name)
					}
				}
			},
		})
	})
}
