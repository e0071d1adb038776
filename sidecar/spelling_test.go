package sidecar

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/cache"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// The values kept ready follow every change of the session, and their bytes stay within header_cache.
func TestSpellingFollowsTheSession(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		h := benched(t, sticky)
		var e exchange
		cookie := e.bear(t, h)
		for _, step := range []struct{ patch, want string }{
			{"", `"attribute0":"x`}, {`{"attribute0":null}`, `{"attribute1":"x`}, {`{"a":1}`, `{"a":1,"attribute1"`}, {`{"a":2}`, `{"a":2,"attribute1"`},
		} {
			e.drive(t, h, cookie, step.patch)
			for range 2 { // spelled, then kept
				e.drive(t, h, cookie, "")
				got := e.x.Request.Fields.Get(fieldSession)
				if !strings.Contains(got, step.want) {
					t.Errorf("sticky %v: after %s the app got %s", sticky, step.patch, got)
				}
				if size := e.x.Request.Fields.Get(fieldMeta); !strings.Contains(size, "inline") || strings.Contains(size, "inline=?0") {
					t.Errorf("Pillion-Meta: %s", size)
				}
			}
		}
	}
}

func TestHeaderCacheIsBounded(t *testing.T) {
	const limit = 2 << 20
	h := benched(t, true)
	h.spellings = cache.New[seat, *spelling](limit)
	var e exchange
	for range 2000 { // of 3 KB
		e.drive(t, h, e.bear(t, h), "")
		if n := h.spellings.Bytes(); n > limit {
			t.Fatalf("%d bytes are kept, %d may be", n, limit)
		}
	}
	if n := h.spellings.Bytes(); n < limit*3/4 {
		t.Errorf("%d bytes are kept, of %d", n, limit)
	}
}

// Characters that the app is given as escapes take more in the cache than in the record.
func TestHeaderCacheCountsEscapes(t *testing.T) {
	h := benched(t, true)
	var e exchange
	e.drive(t, h, "", `{"a":"`+strings.Repeat(`\u20ac`, 500)+`"}`)
	cookie, _, _ := strings.Cut(e.resp.Fields.Get("Set-Cookie"), ";")
	e.drive(t, h, cookie, "")
	if spelled, kept := len(e.x.Request.Fields.Get(fieldSession)), h.spellings.Bytes(); spelled < 3000 || kept < int64(spelled)+1500 {
		t.Errorf("a value of %d bytes, and the record of 1500, count as %d", spelled, kept)
	}
}

// D3: an id that was seen to be genuine is so by the keys of that time only.
func TestRemovedKeyEndsKnownIDs(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		h := benched(t, sticky)
		var e exchange
		cookie := e.bear(t, h)
		old, fresh := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		for _, row := range []struct {
			secrets [][]byte
			holds   bool
		}{{[][]byte{old}, true}, {[][]byte{fresh, old}, true}, {[][]byte{fresh}, false}} {
			keys, err := ring.NewKeys("shop", row.secrets...)
			if err != nil {
				t.Fatal(err)
			}
			h.SetKeys(keys, nil, row.secrets)
			for range 2 {
				e.drive(t, h, cookie, "")
				if got := e.x.Request.Fields.Get(fieldSession) != "{}"; got != row.holds {
					t.Errorf("sticky %v, %d keys: the id is genuine: %v, want %v", sticky, len(row.secrets), got, row.holds)
				}
			}
		}
	}
}

// A forged id gets nothing from the genuine one that was seen before.
func TestKnownIDProvesOnlyItself(t *testing.T) {
	h := benched(t, true)
	var e exchange
	cookie := e.bear(t, h)
	e.drive(t, h, cookie, "")
	for i := len(cookie) - 1; i >= len("__Host-psid="); i-- {
		forged := []byte(cookie)
		for forged[i] == cookie[i] {
			forged[i] = map[bool]byte{true: 'b', false: 'a'}[cookie[i] == 'a']
		}
		e.drive(t, h, string(forged), "")
		if got := e.x.Request.Fields.Get(fieldSession); got != "{}" {
			t.Errorf("character %d changed: the app got a session", i)
		}
	}
}

// What End gives back serves other requests: nothing of the one before shows.
func TestVisitsShareNothing(t *testing.T) {
	h := benched(t, true)
	var e exchange
	cookie := e.bear(t, h)
	for range 10 {
		e.drive(t, h, cookie, "")
		e.drive(t, h, "", "")
		if got := e.x.Request.Fields.Get(fieldSession); got != "{}" {
			t.Fatalf("a visitor without a cookie got %s", got)
		}
		if e.resp.Fields.Has("Vary") {
			t.Fatal("an answer that is nobody's is made private")
		}
	}
	var x head.Exchange
	h.End(&x, nil) // of an exchange that Request never saw
}

// A spelling outlives the session's place in memory: then the session is found anew, as if nothing had been known.
func TestSpellingOfADroppedSession(t *testing.T) {
	h := benched(t, true)
	k := h.keeper.(*sticky)
	var e exchange
	cookie := e.bear(t, h)
	e.drive(t, h, cookie, "")
	dropped := k.table.all()[0]
	k.forget(dropped.random)
	k.remember(dropped, newState(ring.ID{}, &sessioncodec.Record{}, true, true)) // too late
	for _, step := range []struct{ patch, want string }{{"", `"attribute0"`}, {`{"a":1}`, `"attribute0"`}, {"", `{"a":1,`}} {
		e.drive(t, h, cookie, step.patch)
		if got := e.x.Request.Fields.Get(fieldSession); !strings.Contains(got, step.want) {
			t.Errorf("the app got %.40s, want %s", got, step.want)
		}
	}
	if all := k.table.all(); len(all) != 1 || all[0] == dropped {
		t.Errorf("%d sessions in memory, or the one that was dropped", len(all))
	}
	if dropped.now.Load() != nil || k.table.bytes.Load() != k.table.all()[0].now.Load().size() {
		t.Error("the dropped session has a state, or is accounted for")
	}
}
