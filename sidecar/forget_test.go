package sidecar

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// What is forgotten: nothing but deletions; none that a write under way, a copy or a memory may still need; and so much that a session is bounded.
func TestForgetting(t *testing.T) {
	h := &Handler{opts: Options{Idle: 30 * time.Minute}}
	now := time.UnixMilli(1_700_000_000_000)
	forget := h.forgetting(now)
	rapid.Check(t, func(t *rapid.T) {
		r := &sessioncodec.Record{Created: now.Add(-20 * time.Hour).UnixMilli(), Idle: uint32(rapid.IntRange(60, 7200).Draw(t, "idle")), Lifetime: 86400}
		var entries []sessioncodec.Entry
		for i := range rapid.IntRange(0, 2*deletedMost).Draw(t, "entries") {
			age := time.Duration(rapid.IntRange(-60, 4*3600).Draw(t, "age")) * time.Second
			e := sessioncodec.Entry{Name: fmt.Sprint(i), Value: []byte("1"), Stamp: sessioncodec.Stamp{Clock: clockAt(now.Add(-age)), Writer: 1}}
			if rapid.Bool().Draw(t, "deleted") {
				e.Kind, e.Value = sessioncodec.Deleted, nil
			}
			entries = append(entries, e)
		}
		r = r.With(entries...)
		kept := forget(r)
		if !forget(kept).Same(kept) {
			t.Fatal("it does not come to rest")
		}
		idle, deletions, needed := max(30*time.Minute, time.Duration(r.Idle)*time.Second), 0, 0
		for _, e := range r.Entries {
			_, stays := kept.Find(e.Name)
			age := now.Sub(time.UnixMilli(int64(e.Stamp.Clock)))
			switch {
			case e.Kind != sessioncodec.Deleted || age < deletedLeast:
				if !stays {
					t.Fatalf("%v is gone at the age of %v", e, age)
				}
				if e.Kind == sessioncodec.Deleted {
					needed++
				}
			case stays && age > idle+deletedSlack:
				t.Fatalf("a deletion is kept at the age of %v", age)
			}
			if stays && e.Kind == sessioncodec.Deleted {
				deletions++
			}
		}
		if deletions > max(deletedMost, needed) {
			t.Fatalf("%d deletions are kept, %d are young", deletions, needed)
		}
	})
}
