package memcached

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// However many requests wait, they share the pipelines; one more connection is for the canary.
func TestConnectionsAreBounded(t *testing.T) {
	var open, most atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		n := open.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		return &counted{Conn: conn, open: &open}, nil
	}
	s := testStore(t, Options{Dial: dial, OpTimeout: 10 * time.Second}, startReal(t))
	id := newID(t, "n1")
	mustSave(t, s, id, birth(record(entry("a", `1`))))
	var all sync.WaitGroup
	for range 10 * inFlight {
		all.Go(func() { mustLoad(t, s, id, store.Near) })
	}
	all.Wait()
	if n := most.Load(); n > linesMost+1 {
		t.Errorf("%d connections to one node", n)
	}
}

type counted struct {
	net.Conn
	open   *atomic.Int64
	closed sync.Once
}

func (c *counted) Close() error {
	c.closed.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}
