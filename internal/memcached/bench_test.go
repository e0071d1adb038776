package memcached

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"testing"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// What a request costs against real memcached, with a session of 1 KB.
func benchmark(b *testing.B, do func(s *Store, n int) error) {
	s := testStore(b, Options{Opened: 1 << 20}, startReal(b), startReal(b))
	benchID = newID(b, "n1")
	noise := make([]byte, 750)
	rand.Read(noise)
	benchRecord = record(entry("a", `"`+base64.StdEncoding.EncodeToString(noise)+`"`))
	mustSave(b, s, benchID, birth(benchRecord))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if err := do(s, n); err != nil {
			b.Fatal(err)
		}
	}
}

var (
	benchID     ring.ID
	benchRecord *sessioncodec.Record
)

func BenchmarkSharedRead(b *testing.B) {
	benchmark(b, func(s *Store, _ int) error {
		_, err := s.Load(context.Background(), benchID, store.Near)
		return err
	})
}

func BenchmarkSharedWrite(b *testing.B) {
	benchmark(b, func(s *Store, n int) error {
		found, err := s.Load(context.Background(), benchID, store.Near)
		if err != nil {
			return err
		}
		w := update(found.Record.With(entry("n", `1`)))
		w.Seen = found.Seen
		_, err = s.Save(context.Background(), benchID, w)
		return err
	})
}

func BenchmarkStickyWrite(b *testing.B) {
	benchmark(b, func(s *Store, n int) error {
		_, err := s.Save(context.Background(), benchID, update(benchRecord.With(entry("n", `1`))))
		return err
	})
}
