package sessioncodec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/vectors/v1.json")

const vectorFile = "testdata/vectors/v1.json"

// vectorSet is the file that readers in any language prove themselves on. Numbers of 64 bits are decimal strings: JavaScript
// rounds others.
type vectorSet struct {
	Keys    map[string]string `json:"keys"` // secrets in hex, by id
	Vectors []vector          `json:"vectors"`
}

type vector struct {
	Name       string `json:"name"`
	Space      string `json:"space"`
	StorageKey string `json:"storage_key"`
	Keys       []int  `json:"keys"` // ids that the reader has; the first one seals
	MaxRaw     int    `json:"max_raw"`
	Blob       string `json:"blob"`
	answer
}

// answer is what a reader says of a blob: the class of the failure or the record.
type answer struct {
	Error  string      `json:"error,omitempty"`
	Record *textRecord `json:"record,omitempty"`
}

type textRecord struct {
	State      string          `json:"state"`
	Created    string          `json:"created"`
	Accessed   string          `json:"accessed"`
	Idle       uint32          `json:"idle"`
	Lifetime   uint32          `json:"lifetime"`
	Life1      uint32          `json:"life1"`
	Life2      uint32          `json:"life2"`
	Epoch      uint32          `json:"epoch"`
	Owner      *textOwner      `json:"owner"`
	To         *textLink       `json:"to"`
	Prev       *textLink       `json:"prev"`
	Extensions []textExtension `json:"extensions"`
	Entries    []textEntry     `json:"entries"`
}

type textOwner struct {
	Route       string `json:"route"`
	Incarnation string `json:"incarnation"`
}

type textLink struct {
	Random string `json:"random"`
	Issued uint32 `json:"issued"`
	At     string `json:"at"`
}

type textExtension struct {
	ID    uint64 `json:"id"`
	Value string `json:"value"`
}

type textEntry struct {
	Kind   uint8  `json:"kind"`
	Name   string `json:"name"`
	Clock  string `json:"clock"`
	Writer string `json:"writer"`
	Value  string `json:"value"`
}

func textOf(r *Record) *textRecord {
	u := func(v uint64) string { return strconv.FormatUint(v, 10) }
	link := func(l Link) *textLink {
		if l == (Link{}) {
			return nil
		}
		return &textLink{hex.EncodeToString(l.Random[:]), l.Issued, strconv.FormatInt(l.At, 10)}
	}
	t := &textRecord{
		State:   []string{"live", "superseded", "destroyed"}[r.State],
		Created: u(uint64(r.Created)), Accessed: u(uint64(r.Accessed)), Idle: r.Idle, Lifetime: r.Lifetime,
		Life1: r.Life1, Life2: r.Life2, Epoch: r.Owner.Epoch, To: link(r.To), Prev: link(r.Prev),
		Extensions: []textExtension{}, Entries: []textEntry{},
	}
	if r.Owner.present() {
		t.Owner = &textOwner{r.Owner.Route, u(r.Owner.Incarnation)}
	}
	for _, x := range r.Extensions {
		t.Extensions = append(t.Extensions, textExtension{x.ID, hex.EncodeToString(x.Value)})
	}
	for _, e := range r.Entries {
		t.Entries = append(t.Entries, textEntry{uint8(e.Kind), e.Name, u(e.Stamp.Clock), u(e.Stamp.Writer), hex.EncodeToString(e.Value)})
	}
	return t
}

func (v *vector) codec(t testing.TB, compression Compression) *Codec {
	o := Options{Space: v.Space, MaxRaw: v.MaxRaw, Compression: compression}
	for i, id := range v.Keys {
		if i == 0 {
			o.Seal = secret(uint32(id))
		} else {
			o.Open = append(o.Open, *secret(uint32(id)))
		}
	}
	return newCodec(t, o)
}

// read is this package's own answer to a vector.
func (v *vector) read(t testing.TB) answer {
	blob, err := hex.DecodeString(v.Blob)
	if err != nil {
		t.Fatal(err)
	}
	r, err := v.codec(t, CompressAuto).Open(v.StorageKey, blob)
	if err != nil {
		return answer{Error: Class(err)}
	}
	return answer{Record: textOf(r)}
}

func loadVectors(t testing.TB) vectorSet {
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var set vectorSet
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// The vectors are a promise to everybody who wrote a reader: they may be added to, not changed.
func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	set := loadVectors(t)
	classes := map[string]int{}
	for _, v := range set.Vectors {
		classes[v.Error]++
		if got := v.read(t); !reflect.DeepEqual(got, v.answer) {
			t.Errorf("%s: got %v, want %v", v.Name, got, v.answer)
		}
	}
	for _, class := range []string{
		"", ClassTruncated, ClassMagic, ClassVersion, ClassAlgorithm, ClassKey, ClassChecksum, ClassAuth, ClassHeader, ClassLimit,
		ClassCompression, ClassLength, ClassCritical, ClassCanonical,
	} {
		if classes[class] == 0 {
			t.Errorf("no vector of class %q", class)
		}
	}
}

// A writer has one spelling for a record, under a given nonce; what a compressor makes of it may change with its version.
func TestVectorsSealTheSame(t *testing.T) {
	for _, v := range loadVectors(t).Vectors {
		blob, _ := hex.DecodeString(v.Blob)
		if v.Error != "" || blob[3]&15 != plain || len(v.Keys) > 1 {
			continue
		}
		c := v.codec(t, CompressNone)
		r, err := c.Open(v.StorageKey, blob)
		if err != nil {
			t.Fatal(err)
		}
		c.random = bytes.NewReader(blob[headerLen:])
		if again, err := c.Seal(v.StorageKey, r); err != nil || !bytes.Equal(again, blob) {
			t.Errorf("%s: sealed again (%v):\n%x, want\n%x", v.Name, err, again, blob)
		}
	}
}

func writeVectors(t *testing.T) {
	vectors := append(goodVectors(t), badVectors(t)...)
	names := map[string]bool{}
	for i := range vectors {
		v := &vectors[i]
		if names[v.Name] {
			t.Errorf("two vectors %q", v.Name)
		}
		names[v.Name] = true
		want := v.Error
		if v.answer = v.read(t); v.Error != want {
			t.Errorf("%s: reads as class %q, want %q", v.Name, v.Error, want)
		}
	}
	text := fmt.Appendf(nil, "{\"keys\": {\"1\": \"%x\", \"7\": \"%x\"},\n\"vectors\": [\n", secret(1).Secret, secret(7).Secret)
	for i, v := range vectors { // one a line, for the sake of diffs
		line, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, line...)
		if i < len(vectors)-1 {
			text = append(text, ',')
		}
		text = append(text, '\n')
	}
	if err := os.WriteFile(vectorFile, append(text, "]}\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
}

// fixedNonce makes the vectors repeatable. Nothing else may: a nonce seals one blob.
type fixedNonce struct{ next byte }

func (f *fixedNonce) Read(p []byte) (int, error) {
	f.next++
	copy(p, bytes.Repeat([]byte{f.next}, len(p)))
	return len(p), nil
}

func newVector(name string, keys ...int) vector {
	return vector{Name: name, Space: "shop", StorageKey: testKey, Keys: slices.Clone(keys), MaxRaw: MaxRaw}
}
