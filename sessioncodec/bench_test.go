package sessioncodec

import (
	"encoding/json"
	"fmt"
	"testing"
)

// Sessions of about 1, 4 and 8 KB: 10 to 40 attributes.
var sizes = []struct {
	name    string
	n, each int
}{{"1KB", 10, 80}, {"4KB", 20, 180}, {"8KB", 40, 180}}

func benchmarkCodecs(b *testing.B, run func(b *testing.B, c *Codec, r *Record)) {
	for _, o := range []struct {
		name    string
		options Options
	}{
		{"crc", Options{Compression: CompressNone}},
		{"xaes", Options{Compression: CompressNone, Seal: secret(1)}},
		{"xaes+snappy", Options{Seal: secret(1)}},
		{"xaes+zstd", Options{Compression: CompressZstd, Seal: secret(1)}},
	} {
		for _, size := range sizes {
			b.Run(o.name+"/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				run(b, newCodec(b, o.options), cart(size.n, size.each))
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	benchmarkCodecs(b, func(b *testing.B, c *Codec, r *Record) {
		blob, err := c.Seal(testKey, r)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			_, _ = c.Seal(testKey, r)
		}
		b.ReportMetric(float64(len(blob)), "blob-B")
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmarkCodecs(b, func(b *testing.B, c *Codec, r *Record) {
		blob, err := c.Seal(testKey, r)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := c.Open(testKey, blob); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// What an app does that keeps its session as one JSON tree, without checksum, seal or stamps.
func benchmarkJSON(b *testing.B, run func(tree map[string]any, text []byte) error) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			tree := map[string]any{}
			for i, e := range cart(size.n, size.each).Entries {
				tree[e.Name] = map[string]any{"text": string(e.Value), "n": float64(i), "name": fmt.Sprint(i)}
			}
			text, err := json.Marshal(tree)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := run(tree, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJSONMarshal(b *testing.B) {
	benchmarkJSON(b, func(tree map[string]any, _ []byte) error { _, err := json.Marshal(tree); return err })
}

func BenchmarkJSONUnmarshal(b *testing.B) {
	benchmarkJSON(b, func(_ map[string]any, text []byte) error {
		var tree map[string]any
		return json.Unmarshal(text, &tree)
	})
}

// A commit's join of what the node holds with the same and one new write.
func BenchmarkJoin(b *testing.B) {
	for _, size := range sizes {
		stored := cart(size.n, size.each)
		mine := clone(stored).With(Entry{Name: "attribute005", Stamp: Stamp{1 << 50, 1}, Value: []byte("1")})
		for _, c := range []struct {
			name string
			mine *Record
		}{{"equal", clone(stored)}, {"newer", mine}, {"mixed", mine.With(Entry{Name: "attribute006"})}} {
			b.Run(c.name+"/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Join(stored, c.mine)
				}
			})
		}
	}
}
