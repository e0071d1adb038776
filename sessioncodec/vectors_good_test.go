package sessioncodec

import (
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
)

const born = 1_700_000_000_000

// goodVectors are blobs that every reader opens.
func goodVectors(t testing.TB) []vector {
	nonces := &fixedNonce{}
	var out []vector
	add := func(name string, compression Compression, r *Record, keys ...int) {
		v := newVector(name, keys...)
		c := v.codec(t, compression)
		c.random = nonces
		blob, err := c.Seal(testKey, r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v.Blob = hex.EncodeToString(blob)
		out = append(out, v)
	}
	for _, r := range goodRecords() {
		add(r.name+", clear", CompressNone, r.record)
		add(r.name+", sealed", CompressNone, r.record, 1)
	}
	large := cart(12, 300)
	add("Snappy, clear", CompressAuto, large)
	add("Snappy, sealed", CompressAuto, large, 1)
	add("zstd, clear", CompressZstd, large)
	add("zstd, sealed", CompressZstd, large, 1)
	runs := born1(Entry{Name: "run", Kind: Opaque, Value: []byte(strings.Repeat("a", 3000) + strings.Repeat("abcdefg", 600))})
	add("Snappy, long runs and far copies", CompressAuto, runs, 1)
	add("zstd, long runs and far copies", CompressZstd, runs, 1)
	add("no gain, so not compressed", CompressAuto, born1(noise(2000)), 1)
	old := newVector("sealed by the key before", 7, 1)
	old.Blob = out[1].Blob
	return append(out, old)
}

// born1 is a record with these entries, stamped when it was born.
func born1(entries ...Entry) *Record {
	for i := range entries {
		if entries[i].Stamp.Clock == 0 {
			entries[i].Stamp = Stamp{born, 0x1122334455667788}
		}
	}
	r := &Record{Created: born, Accessed: born + 5000, Idle: 1800, Lifetime: 86400, Entries: entries}
	r.followIdle()
	return r
}

func noise(n int) Entry {
	value := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		value[i] = byte(x)
	}
	return Entry{Name: "noise", Kind: Opaque, Value: value}
}

type namedRecord struct {
	name   string
	record *Record
}

func goodRecords() []namedRecord {
	text := func(name, value string) Entry { return Entry{Name: name, Value: []byte(value)} }
	renewed := born1(text("user", `{"id":7}`))
	renewed.State = Superseded
	renewed.To = Link{[16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, 1_700_000_100, born + 100_000}
	renewed.Prev = Link{[16]byte{0xff}, 1_600_000_000, -1}
	sticky := born1(text("cart", `["a","b"]`))
	sticky.Owner = Owner{Epoch: 3, Route: "shop-1", Incarnation: math.MaxUint64}
	sticky.Life1, sticky.Life2 = 0xdeadbeef, 0xcafe0001
	abandoned := born1()
	abandoned.Owner.Epoch = 9
	kept := born1(text("a", "1"))
	kept.Extensions = []Extension{{ID: 0}, {ID: 3, Value: []byte("kept on rewrite")}, {ID: 63, Value: []byte{0}}}
	far := born1(Entry{Name: "a", Kind: JSON, Value: []byte("1"), Stamp: Stamp{math.MaxUint64, math.MaxUint64}})
	far.Created, far.Accessed, far.Idle, far.Lifetime = 0, math.MaxInt64, math.MaxUint32, math.MaxUint32
	many := born1()
	for i := range 140 {
		many.Entries = append(many.Entries, Entry{
			Name: fmt.Sprintf("k%03d", i), Value: fmt.Append(nil, i), Stamp: Stamp{born + uint64(i*i), uint64(i % 130)},
		})
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	return []namedRecord{
		{"empty", born1()},
		{"all zero", &Record{}},
		{"one attribute", born1(text("n", "9007199254740993"))},
		{"all kinds", born1(text("a", "null"), Entry{Name: "b", Kind: Opaque, Value: every}, Entry{Name: "c", Kind: Deleted}, Entry{Name: "d", Kind: Reserved, Value: []byte("x")})},
		{"a kind of a later version", born1(text("a", "1"), Entry{Name: "b", Kind: 9, Value: []byte("later")}, Entry{Name: "c", Kind: 255})},
		{"one name, attribute and reserved", born1(text("subject", `"theirs"`), Entry{Name: "idle", Kind: Reserved, Value: []byte("60")}, Entry{Name: "subject", Kind: Reserved, Value: []byte("ours")})},
		{"names by bytes", born1(text("Z", "1"), text("a", "2"), text("aa", "3"), text("ä", `"ö\ud83d\ude00"`), text("\uffee", "4"), text("😀", "5"))},
		{"the longest name, an empty value", born1(Entry{Name: strings.Repeat("n", MaxName), Kind: Opaque})},
		{"the greatest numbers", far},
		{"an owner", sticky},
		{"an epoch without an owner", abandoned},
		{"superseded", renewed},
		{"unknown optional extensions", kept},
		{"140 attributes by 130 writers", many},
		{"destroyed", &Record{State: Destroyed, Created: born, Accessed: born + 9000, Lifetime: 86400, Life1: 7}},
	}
}
