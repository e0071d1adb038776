package memcached

import (
	"bytes"
	"testing"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// A copy that has not changed is not opened again, nor is one that this process wrote; whatever else a node says is looked at.
func TestUnchangedCopyIsKnown(t *testing.T) {
	a, b := startReal(t), startReal(t)
	s, other := testStore(t, Options{Opened: 1 << 20}, a, b), testStore(t, Options{}, a, b)
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	first, second := mustLoad(t, s, id, store.Near), mustLoad(t, s, id, store.Near)
	if first.Record != second.Record || value(first.Record, "a") != "1" {
		t.Errorf("an unchanged copy was opened again")
	}
	mustSave(t, other, id, update(first.Record.With(entry("a", `2`))))
	if got := mustLoad(t, s, id, store.Near); value(got.Record, "a") != "2" {
		t.Errorf("after a change elsewhere: %s", value(got.Record, "a"))
	}
	a.Command("set "+ring.StorageKey("shop", id.Random)+" 0 0 5\r\nwrong", "STORED")
	if got := mustLoad(t, s, id, store.Near); value(got.Record, "a") != "2" || !got.Short {
		t.Errorf("a damaged copy is believed: %+v", got)
	}
}

// What a key opened is not known any more when the key is gone.
func TestRemovedKeyOpensNothing(t *testing.T) {
	s := testStore(t, Options{Opened: 1 << 20}, startReal(t))
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	mustLoad(t, s, id, store.Near)
	key := sessioncodec.Key{ID: 2, Secret: bytes.Repeat([]byte{8}, 32)}
	codec, err := sessioncodec.New(sessioncodec.Options{Space: "shop", Seal: &key})
	if err != nil {
		t.Fatal(err)
	}
	s.SetCodec(codec)
	if got := mustLoad(t, s, id, store.Near); got.Record != nil {
		t.Error("opened without its key")
	}
}
