package sessioncodec

import (
	"errors"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// RFC 7396, appendix A. Three of its cases begin with a patch or target that is no object.
func TestMergePatchRFC7396(t *testing.T) {
	for _, tt := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		// Ours: order of the target, numbers, other spellings of a name, nulls in arrays, no target.
		{`{"c":1,"a":{"y":1,"x":2},"b":3}`, `{"d":4,"a":{"x":5},"c":null}`, `{"a":{"y":1,"x":5},"b":3,"d":4}`},
		{`{"n":1.50,"m":9007199254740993}`, ` { "k" : 1E400 } `, `{"n":1.50,"m":9007199254740993,"k":1E400}`},
		{`{"é":1}`, `{"\u00e9":2}`, `{"é":2}`},
		{`{"a":1}`, `{"a":[null,{"b":null}]}`, `{"a":[null,{"b":null}]}`},
		{``, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
	} {
		var target []byte
		if tt[0] != "" {
			target = []byte(tt[0])
		}
		got, err := MergePatch(target, []byte(tt[1]))
		if err != nil || string(got) != tt[2] {
			t.Errorf("%s + %s: got %s, %v; want %s", tt[0], tt[1], got, err, tt[2])
		}
	}
}

func TestMergePatchRefuses(t *testing.T) {
	for _, tt := range [][2]string{{`{`, `{}`}, {`{}`, `{`}, {`{}`, ``}, {`{"a":1,"a":2}`, `{}`}, {`{}`, `{"a":"\ud800"}`}} {
		if got, err := MergePatch([]byte(tt[0]), []byte(tt[1])); err == nil {
			t.Errorf("%s + %s: got %s", tt[0], tt[1], got)
		}
	}
}

// merge is RFC 7396, section 2, as the RFC writes it.
func merge(target, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := target.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	for name, value := range p {
		if value == nil {
			delete(t, name)
		} else {
			t[name] = merge(t[name], value)
		}
	}
	return t
}

func TestMergePatchAgreesWithTheRFC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		target, patch := []byte(genValue(3).Draw(t, "target")), []byte(genValue(3).Draw(t, "patch"))
		got, err := MergePatch(target, patch)
		if err != nil {
			t.Fatal(err)
		}
		if want := merge(decode(t, target), decode(t, patch)); !reflect.DeepEqual(decode(t, got), want) {
			t.Fatalf("%s + %s: got %s, want %v", target, patch, got, want)
		}
		if again, err := normalize(got); err != nil || string(again) != string(got) {
			t.Fatalf("not in stored form: %s, %v", got, err)
		}
	})
}

func TestParsePatch(t *testing.T) {
	got, err := ParsePatch([]byte(`{ "n" : 9007199254740993 , "gone":null, "cart":{"n": 3,"x":null}, "list":[ 1, {"$b64":"AA=="} ],
		"raw":{ "\u0024b64" : "\/+8=" }, "none":{"$b64":""}, "caf\u00e9":"\ud83d\ude00",
		"not":{"$b64":5}, "more":{"$b64":"AA==","a":1}, "empty":{} }`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Change{
		{"n", Put, JSON, []byte(`9007199254740993`)},
		{"gone", Delete, JSON, nil},
		{"cart", Merge, JSON, []byte(`{"n":3,"x":null}`)},
		{"list", Put, JSON, []byte(`[1,{"$b64":"AA=="}]`)},
		{"raw", Put, Opaque, []byte{0xff, 0xef}},
		{"none", Put, Opaque, nil},
		{"café", Put, JSON, []byte(`"😀"`)},
		{"not", Merge, JSON, []byte(`{"$b64":5}`)},
		{"more", Merge, JSON, []byte(`{"$b64":"AA==","a":1}`)},
		{"empty", Merge, JSON, []byte(`{}`)},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, bad := range []string{"x", "AA", "AB==", "_-8=", "AA==AA==", "A\\nA=="} {
		if _, err := ParsePatch([]byte(`{"a":{"$b64":"` + bad + `"}}`)); !errors.Is(err, ErrBase64) {
			t.Errorf("$b64 %q: %v", bad, err)
		}
	}
}

func TestParseReplace(t *testing.T) {
	base := &Record{Entries: []Entry{
		jsonEntry("a", `"é😀"`),
		{Name: "b", Kind: Opaque, Value: []byte{0xff, 0xef}},
		{Name: "c", Kind: Deleted},
		jsonEntry("d", `{"n":1.0,"m":2}`),
		{Name: "e", Kind: 9, Value: []byte("of a later version")},
		jsonEntry("f", "[ \"\\u0041\",\n1 ]"), // another writer's spelling
		{Name: "idle", Kind: Reserved},
	}}
	for _, tt := range []struct {
		name, text string
		want       []Change
	}{
		{"the header given back", string(AppendObject(nil, base)), nil},
		{"other spellings", `{ "f":["A",1], "d":{"n":1.0, "m":2}, "b":{"$b64":"/+8="}, "\u0061":"é\uD83D\uDE00" }`, nil},
		{"everything gone", `{}`, []Change{{Name: "a"}, {Name: "b"}, {Name: "d"}, {Name: "f"}}},
		{"new and null", `{"a":"é😀","b":{"$b64":"/+8="},"d":null,"f":["A",1],"c":1,"e":{"x":null}}`, []Change{
			{"d", Put, JSON, []byte(`null`)}, {"c", Put, JSON, []byte(`1`)}, {"e", Put, JSON, []byte(`{"x":null}`)}}},
		{"changed", `{"a":"e","b":{"$b64":"AA=="},"d":{"n":1,"m":2},"f":{"$b64":"/+8="}}`, []Change{
			{"a", Put, JSON, []byte(`"e"`)}, {"b", Put, Opaque, []byte{0}}, {"d", Put, JSON, []byte(`{"n":1,"m":2}`)},
			{"f", Put, Opaque, []byte{0xff, 0xef}}}},
		{"a reserved name is free for the app", `{"idle":1,"a":"é😀","b":{"$b64":"/+8="},"d":{"n":1.0,"m":2},"f":["A",1]}`, []Change{
			{"idle", Put, JSON, []byte(`1`)}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseReplace([]byte(tt.text), base)
			if err != nil {
				t.Fatal(err)
			}
			if len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	if _, err := ParseReplace([]byte(`{"a":{"$b64":"x"}}`), base); !errors.Is(err, ErrBase64) {
		t.Errorf("bad base64: %v", err)
	}
}

// However a merge came by its value, giving back what was shown is never a change.
func TestReplaceWithWhatWasShown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value, err := MergePatch([]byte(genObject(3).Draw(t, "target")), []byte(genValue(3).Draw(t, "patch")))
		if err != nil {
			t.Fatal(err)
		}
		r := &Record{Entries: []Entry{{Name: genText().Draw(t, "name"), Value: value}}}
		for _, shown := range []string{string(AppendObject(nil, r)), "{" + spell(t, r.Entries[0].Name) + ":" + string(value) + "}"} {
			if got, err := ParseReplace([]byte(shown), r); err != nil || len(got) != 0 {
				t.Fatalf("%s: %q, %v", shown, got, err)
			}
		}
	})
}

// apply is a session after changes, stamps left aside.
func apply(r *Record, changes []Change) (*Record, error) {
	out := &Record{}
	for _, e := range r.Entries {
		keep := true
		for _, c := range changes {
			keep = keep && c.Name != e.Name
		}
		if keep {
			out.Entries = append(out.Entries, e)
		}
	}
	for _, c := range changes {
		var target []byte
		for _, e := range r.Entries {
			if e.Name == c.Name && e.Kind == JSON {
				target = e.Value
			}
		}
		switch c.Op {
		case Put:
			out.Entries = append(out.Entries, Entry{Name: c.Name, Kind: c.Kind, Value: c.Value})
		case Merge:
			value, err := MergePatch(target, c.Value)
			if err != nil {
				return nil, err
			}
			out.Entries = append(out.Entries, Entry{Name: c.Name, Kind: JSON, Value: value})
		}
	}
	return out, nil
}

// FuzzPatch: no text panics, and what is accepted leads to a session whose header is ASCII JSON of the same values.
func FuzzPatch(f *testing.F) {
	for _, seed := range []string{
		`{"a":1}`, `{"a":null,"b":{"c":null}}`, `{"a":{"$b64":"AA=="}}`, `{"a":{"$b64":"AA==","x":null}}`, "{\"a\":\"é😀\u2028\x7f\"}",
		`{"a":"\ud83d\ude00\ud800"}`, `{"a":9007199254740993,"a":1}`, `{"\u0061":[1,{"b":[]}],"a":{}}`, `{"":0}`, `[`, `{"a":"\`,
		strings.Repeat(`{"a":`, 40), "{\"a\" :\t[ 1 ,\n2 ]}",
	} {
		f.Add([]byte(seed), []byte(`{"a":{"b":1},"c":"x"}`))
	}
	f.Fuzz(func(t *testing.T, before, patch []byte) {
		puts, err := ParseReplace(before, nil)
		if err != nil {
			return
		}
		r, err := apply(&Record{}, puts)
		if err != nil {
			t.Fatal(err)
		}
		checkObject(t, r)
		changes, err := ParsePatch(patch)
		if err != nil {
			return
		}
		after, err := apply(r, changes)
		if err != nil {
			t.Fatalf("%s + %s: %v", before, patch, err)
		}
		checkObject(t, after)
		if got, err := ParseReplace(AppendObject(nil, after), after); err == nil && len(got) != 0 {
			t.Fatalf("what was shown came back as a change: %q", got)
		}
	})
}

func BenchmarkParsePatch(b *testing.B) {
	text := []byte(`{"user":"u123","cart":{"n":3,"items":["a","b"]},"flash":null}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePatch(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMergePatch(b *testing.B) {
	target, patch := []byte(`{"items":["a","b"],"n":2,"total":"19.90"}`), []byte(`{"n":3,"total":"29.85"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MergePatch(target, patch); err != nil {
			b.Fatal(err)
		}
	}
}

// A value must not keep the text in memory that it came with.
func TestPatchKeepsNoText(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, text := range []string{`{"n":1,"long":"` + long + `"}`, `{"n":1` + strings.Repeat(" ", 100<<10) + `}`} {
		var kept [][]byte
		before := heap()
		for range 50 {
			changes, err := ParsePatch([]byte(text))
			if err != nil || string(changes[0].Value) != "1" {
				t.Fatalf("%v, %v", changes, err)
			}
			kept = append(kept, changes[0].Value)
		}
		if each := (heap() - before) / int64(len(kept)); each > 10<<10 {
			t.Errorf("%.12s: a value of one byte keeps %d in memory", text, each)
		}
		runtime.KeepAlive(kept)
	}
}

func TestPatchNames(t *testing.T) {
	for text, want := range map[string]string{
		`{"plain":1}`: "plain", `{"q\"uote":1}`: `q"uote`, `{"back\\slash":1}`: `back\slash`, `{"\u20ac":1}`: "€", `{"\u0061":1}`: "a", `{"tab\t":1}`: "tab\t",
	} {
		changes, err := ParsePatch([]byte(text))
		if err != nil || len(changes) != 1 || changes[0].Name != want {
			t.Errorf("%s: %v, %v, want the name %q", text, changes, err, want)
		}
	}
}
