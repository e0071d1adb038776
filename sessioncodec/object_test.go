package sessioncodec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func jsonEntry(name, value string) Entry { return Entry{Name: name, Kind: JSON, Value: []byte(value)} }

func TestAppendObject(t *testing.T) {
	for _, tt := range []struct {
		name    string
		entries []Entry
		want    string
	}{
		{"empty", nil, `{}`},
		{"order of entries", []Entry{jsonEntry("a", `1`), jsonEntry("b", `{"n":[true,null]}`)}, `{"a":1,"b":{"n":[true,null]}}`},
		{"big integer", []Entry{jsonEntry("n", `9007199254740993`)}, `{"n":9007199254740993}`},
		{"emoji and U+2028", []Entry{jsonEntry("a", "\"é😀\u2028\x7f\"")}, `{"a":"\u00e9\ud83d\ude00\u2028\u007f"}`},
		{"whitespace between tokens", []Entry{jsonEntry("a", "[1,\r\n\t2]")}, `{"a":[1,2]}`},
		{"names", []Entry{jsonEntry("q\"\\\x00\n\x7fé😀", `1`)}, `{"q\"\\\u0000\u000a\u007f\u00e9\ud83d\ude00":1}`},
		{"opaque", []Entry{{Name: "a", Kind: Opaque, Value: []byte{0xff, 0xef}}, {Name: "b", Kind: Opaque}},
			`{"a":{"$b64":"/+8="},"b":{"$b64":""}}`},
		{"what the app does not see", []Entry{{Name: "a", Kind: Deleted}, jsonEntry("b", `1`), {Name: "c", Kind: 9, Value: []byte("x")},
			{Name: "subject", Kind: Reserved, Value: []byte("u")}}, `{"b":1}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(AppendObject([]byte("before "), &Record{Entries: tt.entries})); got != "before "+tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := string(AppendObject(nil, nil)); got != `{}` {
		t.Errorf("no record: %s", got)
	}
}

// H10: whatever a session holds, its header is ASCII, and encoding/json reads the same values from it.
func TestAppendObjectIsSafeAndFaithful(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		changes, err := ParseReplace([]byte(genObject(4).Draw(t, "session")), nil)
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		for _, c := range changes {
			r.Entries = append(r.Entries, Entry{Name: c.Name, Kind: c.Kind, Value: c.Value})
		}
		checkObject(t, &r)
	})
}

// checkObject asserts what must hold of the header of any record with valid JSON values.
func checkObject(t interface{ Fatalf(string, ...any) }, r *Record) {
	header := AppendObject(nil, r)
	if !HeaderSafe(string(header)) {
		t.Fatalf("not fit for a header: %q", header)
	}
	var got map[string]json.RawMessage
	if err := json.Unmarshal(header, &got); err != nil {
		t.Fatalf("%s: %v", header, err)
	}
	shown := 0
	for _, e := range r.Entries {
		if e.Kind != JSON && e.Kind != Opaque {
			continue
		}
		shown++
		if e.Kind == Opaque {
			var v struct {
				Bytes []byte `json:"$b64"`
			}
			if err := json.Unmarshal(got[e.Name], &v); err != nil || !bytes.Equal(v.Bytes, e.Value) {
				t.Fatalf("opaque %q of %s: %q, %v", e.Name, header, v.Bytes, err)
			}
		} else if !reflect.DeepEqual(decode(t, got[e.Name]), decode(t, e.Value)) {
			t.Fatalf("%q: header has %s, session has %s", e.Name, got[e.Name], e.Value)
		}
	}
	if len(got) != shown {
		t.Fatalf("%d members of %d shown entries in %s", len(got), shown, header)
	}
}

func decode(t interface{ Fatalf(string, ...any) }, text []byte) (v any) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// Every single byte at every offset of a word takes the path meant for it.
func TestPrintable(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := []byte(strings.Repeat("~ ", 10))
			text[at] = byte(c)
			want := at
			if c >= 0x20 && c <= 0x7E {
				want = len(text)
			}
			if got := printable(text); got != want {
				t.Fatalf("byte %#x at %d: got %d", c, at, got)
			}
		}
	}
}

func TestAppendObjectAllocatesNothing(t *testing.T) {
	r := sampleRecord()
	dst := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { AppendObject(dst, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAppendObject(b *testing.B) {
	r := sampleRecord()
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(AppendObject(dst, r))))
	for b.Loop() {
		AppendObject(dst, r)
	}
}

// sampleRecord is a session of about 1 KB.
func sampleRecord() *Record {
	return &Record{Entries: []Entry{
		jsonEntry("cart", `{"items":[`+strings.Repeat(`{"sku":"B-1234567","n":2,"price":19.90},`, 15)+`{"sku":"C","n":1}]}`),
		jsonEntry("csrf", `"b5a1e6d0c3f24f6f9f2d7a4be8c1a7f0"`),
		{Name: "key", Kind: Opaque, Value: bytes.Repeat([]byte{0xC3}, 64)},
		jsonEntry("name", `"Zoë Åkesson"`),
		jsonEntry("user", `"u123456"`),
		{Name: "subject", Kind: Reserved, Value: []byte("u123456")},
	}}
}
