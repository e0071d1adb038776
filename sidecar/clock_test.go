package sidecar

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alarms := 0
		c := NewClock(7, func() { alarms++ })
		now := uint64(time.Now().UnixMilli())
		first := c.Next(sessioncodec.Stamp{})
		second := c.Next(sessioncodec.Stamp{})
		if first.Clock < now || second.Compare(first) <= 0 {
			t.Errorf("stamps %v, %v do not rise from %d", first, second, now)
		}
		// A neighbour's clock a minute ahead raises ours.
		c.See((&sessioncodec.Record{Created: 1}).With(entry("a", "1", now+60_000)))
		if s := c.Next(sessioncodec.Stamp{}); s.Clock <= now+60_000 {
			t.Errorf("after a stamp of %d came %d", now+60_000, s.Clock)
		}
		// An hour ahead is honoured where it stands, alarms, and does not raise the process clock.
		far := sessioncodec.Stamp{Clock: now + 3_600_000, Writer: 1}
		if s := c.Next(far); s.Compare(far) <= 0 {
			t.Errorf("%v does not exceed the value it replaces, %v", s, far)
		}
		if s := c.Next(sessioncodec.Stamp{}); s.Clock >= far.Clock {
			t.Errorf("the process clock followed to %d", s.Clock)
		}
		if alarms == 0 {
			t.Error("no alarm")
		}
		// Nor are two stamps alike that exceed one value far ahead: they may be of two changes of which each node has one.
		if one, two := c.Next(far), c.Next(far); one == two || ring.Mark(one.Clock) == ring.Mark(far.Clock+1) {
			t.Errorf("%v and %v exceed %v", one, two, far)
		}
	})
}

// A session that was born under a clock far ahead takes writes of one that is right.
func TestSessionFromAClockFarAhead(t *testing.T) {
	born := time.Now().Add(2 * aheadLimit)
	base := &sessioncodec.Record{Created: born.UnixMilli(), Accessed: born.UnixMilli(), Idle: 60, Lifetime: 3600}
	e := newEdit(t, NewClock(1, func() {}), base, `{"a":1}`)
	if changed, err := e.on(base); err != nil || !changed {
		t.Fatal(changed, err)
	}
	codec, err := sessioncodec.New(sessioncodec.Options{Space: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := codec.Seal("p1:shop:x", e.record()); err != nil {
		t.Error(err)
	}
}
