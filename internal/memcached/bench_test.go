package memcached

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// together is how many requests are under way at once: none but one, or as many as a busy sidecar has.
var together = []int{1, 4, 64}

// What a request costs against real memcached, with a session of 1 KB. cpu-ns/op is the time of this process alone, in all its threads.
func benchmark(b *testing.B, do func(s *Store, id ring.ID, r *sessioncodec.Record) error) {
	for _, n := range together {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkTogether(b, n, do) })
	}
}

func benchmarkTogether(b *testing.B, requests int, do func(s *Store, id ring.ID, r *sessioncodec.Record) error) {
	s := testStore(b, Options{Opened: 1 << 24}, startReal(b), startReal(b))
	noise := make([]byte, 750)
	rand.Read(noise)
	r := record(entry("a", `"`+base64.StdEncoding.EncodeToString(noise)+`"`))
	ids := make([]ring.ID, requests)
	for i := range ids {
		ids[i] = newID(b, "n1")
		mustSave(b, s, ids[i], birth(r))
	}
	b.ReportAllocs()
	b.ResetTimer()
	begun := cpuTime(b)
	var all sync.WaitGroup
	var taken atomic.Int64
	for _, id := range ids {
		all.Go(func() {
			for taken.Add(1) <= int64(b.N) {
				if err := do(s, id, r); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(cpuTime(b)-begun)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func BenchmarkSharedRead(b *testing.B) {
	benchmark(b, func(s *Store, id ring.ID, _ *sessioncodec.Record) error {
		_, err := s.Load(context.Background(), id, store.Near)
		return err
	})
}

func BenchmarkSharedWrite(b *testing.B) {
	benchmark(b, func(s *Store, id ring.ID, _ *sessioncodec.Record) error {
		found, err := s.Load(context.Background(), id, store.Near)
		if err != nil {
			return err
		}
		w := update(found.Record.With(entry("n", `1`)))
		w.Seen = found.Seen
		_, err = s.Save(context.Background(), id, w)
		return err
	})
}

func BenchmarkStickyWrite(b *testing.B) {
	benchmark(b, func(s *Store, id ring.ID, r *sessioncodec.Record) error {
		w := update(r.With(entry("n", `1`)))
		w.Wait = store.First
		_, err := s.Save(context.Background(), id, w)
		return err
	})
}
