package sidecar

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// H1, H5: every spelling that some server turns into pillion-* is ours.
func TestOurs(t *testing.T) {
	for _, name := range []string{"Pillion-Session", "PILLION-META", "pillion_session", "Pillion.Patch", "pillion!op", "pIlLiOn*x", "pillion~", "pillion'a", "Pillion--Op"} {
		if !ours(name) {
			t.Errorf("%q passes", name)
		}
	}
	for _, name := range []string{"Pillion", "Pillio-n", "XPillion-Session", "Pillions-x", "Pillion1", "Host", ""} {
		if ours(name) {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

// H6, H10: what is wrong in one instruction voids the whole answer.
func TestInstruct(t *testing.T) {
	h := &Handler{opts: Options{MaxPatch: 64, Idle: 30 * time.Minute}}
	field := func(pairs ...string) head.Fields {
		var f head.Fields
		for i := 0; i < len(pairs); i += 2 {
			f.Add(pairs[i], pairs[i+1])
		}
		return f
	}
	for _, row := range []struct {
		name   string
		fields head.Fields
		bad    string
	}{
		{"nothing", nil, ""},
		{"patch", field("Pillion-Patch", `{"a":1}`), ""},
		{"any case", field("pillion-PATCH", `{"a":1}`), ""},
		{"login", field("Pillion-Patch", `{"a":1}`, "Pillion-Subject", `"u\"1"`, "Pillion-Op", "renew"), ""},
		{"several operations", field("Pillion-Op", "clear, renew"), ""},
		{"idle", field("Pillion-Idle", "900"), ""},
		{"not JSON", field("Pillion-Patch", `{`), "Pillion-Patch"},
		{"not an object", field("Pillion-Patch", `[1]`), "Pillion-Patch"},
		{"duplicate names", field("Pillion-Patch", `{"a":1,"a":2}`), "Pillion-Patch"},
		{"too deep", field("Pillion-Patch", strings.Repeat(`{"a":`, 33)+"1"+strings.Repeat("}", 33)), "Pillion-Patch"},
		{"too long", field("Pillion-Patch", `{"a":"`+strings.Repeat("x", 64)+`"}`), "session.max_patch"},
		{"not ASCII", field("Pillion-Patch", `{"a":"ä"}`), "ASCII"},
		{"line feed", field("Pillion-Patch", "{\"a\":\n1}"), "ASCII"},
		{"twice", field("Pillion-Patch", `{}`, "Pillion-Patch", `{}`), "more than once"},
		{"patch and replace", field("Pillion-Patch", `{}`, "Pillion-Replace", `{}`), "either"},
		{"unknown operation", field("Pillion-Op", "persist"), "unknown operation"},
		{"unknown instruction", field("Pillion-Path", `{}`), "unknown instruction"},
		{"alias", field("Pillion_Patch", `{}`), "unknown instruction"},
		{"bare subject", field("Pillion-Subject", "u1"), "quoted"},
		{"idle too long", field("Pillion-Idle", "1801"), "session.idle"},
		{"idle zero", field("Pillion-Idle", "0"), "above 0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := h.instruct(row.fields, nil)
			if row.bad == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, errContract) || !strings.Contains(err.Error(), row.bad) {
				t.Errorf("got %v, want a contract error about %s", err, row.bad)
			}
		})
	}
}

func TestInstructReplaceIsADifference(t *testing.T) {
	h := &Handler{opts: Options{MaxPatch: 1 << 10}}
	loaded := (&sessioncodec.Record{Created: 1}).With(
		sessioncodec.Entry{Name: "a", Value: []byte("1"), Stamp: sessioncodec.Stamp{Clock: 1}},
		sessioncodec.Entry{Name: "b", Value: []byte("2"), Stamp: sessioncodec.Stamp{Clock: 1}})
	in, err := h.instruct(head.Fields{{Name: "Pillion-Replace", Value: `{"a":1,"c":3}`}}, loaded)
	if err != nil {
		t.Fatal(err)
	}
	ops := map[string]sessioncodec.Op{}
	for _, c := range in.changes {
		ops[c.Name] = c.Op
	}
	if len(ops) != 2 || ops["b"] != sessioncodec.Delete || ops["c"] != sessioncodec.Put {
		t.Errorf("changes are %v; a did not change, b went, c came", ops)
	}
}
