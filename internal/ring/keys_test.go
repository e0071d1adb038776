package ring

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
)

// mustKeys makes keys of secrets that repeat one byte.
func mustKeys(t testing.TB, space string, secrets ...byte) *Keys {
	t.Helper()
	var all [][]byte
	for _, b := range secrets {
		all = append(all, bytes.Repeat([]byte{b}, 32))
	}
	keys, err := NewKeys(space, all...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestSignAndVerify(t *testing.T) {
	keys := mustKeys(t, "shop", 1)
	id := newID(t, rand.Reader)
	id.Node, id.Route, id.Epoch = "n1", "app1", 3
	if keys.Verify(id) {
		t.Error("an unsigned id is verified")
	}
	signed := mustParse(t, keys.Sign(id).String())
	if !keys.Verify(signed) || signed.Node != "n1" || signed.Route != "app1" || signed.Epoch != 3 || signed.Random != id.Random {
		t.Errorf("%+v came back as %+v", id, signed)
	}
	if mustKeys(t, "shop", 2).Verify(signed) {
		t.Error("another key verifies it")
	}
	if mustKeys(t, "blog", 1).Verify(signed) {
		t.Error("another space verifies it")
	}
}

// C2, C3: no bit of an id can be changed, neither by damage nor by a client that would choose its node.
func TestEveryBitIsProtected(t *testing.T) {
	for name, keys := range map[string]*Keys{"key": mustKeys(t, "shop", 1), "checksum": mustKeys(t, "shop")} {
		for _, rest := range []struct{ node, route string }{{"", ""}, {"n1", ""}, {"", "app-1"}, {"n1", "app-1"}} {
			id := newID(t, rand.Reader)
			id.Node, id.Route = rest.node, rest.route
			text := keys.Sign(id).String()
			for i := range len(text) * 8 {
				flipped := []byte(text)
				flipped[i/8] ^= 1 << (i % 8)
				if got, err := ParseID(string(flipped)); err == nil && keys.Verify(got) {
					t.Fatalf("%s: %q is accepted for %q", name, flipped, text)
				}
			}
		}
	}
}

// The MAC's fields are length-prefixed: nothing moves from one into the next (CVE-2023-35941).
func TestFieldsDoNotRunTogether(t *testing.T) {
	keys := mustKeys(t, "shop", 1)
	id := newID(t, rand.Reader)
	id.Node, id.Route = "n1", "1app"
	signed := keys.Sign(id)
	signed.Node, signed.Route = "n11", "app"
	if keys.Verify(signed) {
		t.Error("a digit moved from the route to the node")
	}
	signed = keys.Sign(newID(t, rand.Reader))
	for _, change := range []func(*ID){
		func(id *ID) { id.Epoch++ }, func(id *ID) { id.Issued++ }, func(id *ID) { id.Node = "n1" }, func(id *ID) { id.Route = "a" },
	} {
		changed := signed
		if change(&changed); keys.Verify(changed) {
			t.Errorf("%+v is accepted for %+v", changed, signed)
		}
	}
}

// Rotation: add as open everywhere, let it seal, drop the old.
func TestKeyRotation(t *testing.T) {
	id := newID(t, rand.Reader)
	old := mustKeys(t, "shop", 1).Sign(id)
	prepared, turned, done := mustKeys(t, "shop", 1, 2), mustKeys(t, "shop", 2, 1), mustKeys(t, "shop", 2)
	if prepared.Sign(id) != old {
		t.Error("a key that opens signs")
	}
	renewed := turned.Sign(id)
	for name, keys := range map[string]*Keys{"prepared": prepared, "turned": turned} {
		if !keys.Verify(old) || !keys.Verify(renewed) {
			t.Errorf("%s: old %v, new %v", name, keys.Verify(old), keys.Verify(renewed))
		}
	}
	if done.Verify(old) || !done.Verify(renewed) {
		t.Error("after the rotation only the new key counts")
	}
}

func TestNewKeysRefuses(t *testing.T) {
	if _, err := NewKeys("shop", make([]byte, 16)); err == nil {
		t.Error("a key of 16 bytes")
	}
	for _, space := range []string{"", "Shop", "a b", "a:b", "a\r\nflush_all", strings.Repeat("a", 33)} {
		if _, err := NewKeys(space); err == nil {
			t.Errorf("space %q", space)
		}
	}
}

// M1: what is sent to memcached as a key is made of our own characters, differs by space and random, and by nothing else.
func TestStorageKey(t *testing.T) {
	id := newID(t, rand.Reader)
	key := StorageKey("shop", id.Random)
	if ref := Ref("shop", id.Random); key != "p1:shop:"+ref || len(ref) != 32 {
		t.Errorf("key %q, ref %q", key, ref)
	}
	for _, c := range key {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-:", c) {
			t.Errorf("%q in %q", c, key)
		}
	}
	if StorageKey("blog", id.Random) == key || Ref("blog", id.Random) == Ref("shop", id.Random) {
		t.Error("two spaces share a key")
	}
	// Pinned: a change of it would lose every session of a running ring.
	if got := StorageKey("shop", [16]byte{1, 2, 3}); got != "p1:shop:KENvAvBb02keyR1dTJnJP4kq5pgZtfYb" {
		t.Errorf("storage key %q", got)
	}
}
