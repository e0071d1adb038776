package sessioncodec

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// A packed record is the record, whatever it holds.
func TestPackLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		r.Life1, r.Life2 = rapid.Uint32().Draw(t, "life1"), rapid.Uint32().Draw(t, "life2")
		r.Accessed = r.Created + rapid.Int64Range(-5, 1<<40).Draw(t, "accessed")
		if got := Unpack(Pack(r)); !got.Same(r) || got.Life1 != r.Life1 || got.Life2 != r.Life2 {
			t.Fatalf("packed %+v, unpacked %+v", r, got)
		}
	})
	if empty := (&Record{}); !reflect.DeepEqual(Unpack(Pack(empty)), empty) {
		t.Error("an empty record does not survive")
	}
}

func BenchmarkPack(b *testing.B) {
	r := cart(10, 80)
	b.ReportAllocs()
	for b.Loop() {
		Pack(r)
	}
	b.ReportMetric(float64(len(Pack(r))), "packed-B")
}

func BenchmarkUnpack(b *testing.B) {
	packed := Pack(cart(10, 80))
	b.ReportAllocs()
	for b.Loop() {
		Unpack(packed)
	}
}
