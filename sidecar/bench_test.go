package sidecar

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// free is a store without a network, which costs nothing: it remembers one session and takes every one.
type free struct{ record *sessioncodec.Record }

func (s *free) Place() string { return "n1" }

func (s *free) Load(context.Context, ring.ID, store.Reach) (store.Found, error) {
	return store.Found{Record: s.record}, nil
}

func (s *free) Save(_ context.Context, _ ring.ID, w store.Write) (store.Saved, error) {
	stored := s.record
	if w.Birth {
		stored = nil
	}
	joined, err := w.Join(stored)
	if err == nil {
		s.record = joined
	}
	return store.Saved{Node: "n1", Acks: 2, Record: joined}, err
}

func (s *free) Lock(context.Context, ring.ID, time.Duration, func()) (func(), error) {
	return func() {}, nil
}

// benched is an engine over a free store.
func benched(b testing.TB, sticky bool) *Handler {
	return New(benchOptions(b, sticky))
}

func benchOptions(b testing.TB, sticky bool) Options {
	keys, err := ring.NewKeys("shop", bytes.Repeat([]byte{1}, 32))
	if err != nil {
		b.Fatal(err)
	}
	return Options{
		Store: &free{}, Keys: keys, Space: "shop", Route: "web1-8080", Incarnation: 1, Sticky: sticky,
		Cookie: Cookie{Name: "__Host-psid", SameSite: "Lax"}, Idle: 30 * time.Minute, Lifetime: 24 * time.Hour,
		MaxSize: 64 << 10, InlineMax: 4 << 10, MaxPatch: 64 << 10, CommitTimeout: time.Second, Copies: 2,
		MemoryLimit: 1 << 40, HeaderCache: 64 << 20, Random: rand.Reader, Metrics: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}
}

// exchange is one request and its answer as a frugal engine drives them: it uses the memory of the one before again.
type exchange struct {
	x    head.Exchange
	resp head.Head
}

var browser = head.Fields{
	{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
	{Name: "Accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
	{Name: "Accept-Language", Value: "en-GB,en;q=0.5"},
	{Name: "Accept-Encoding", Value: "gzip, deflate, br, zstd"},
}

func (e *exchange) drive(b testing.TB, h head.Handler, cookie, patch string) {
	e.x = head.Exchange{Context: context.Background(), Request: head.Head{
		Method: "GET", Target: "/", Authority: "shop.example", Fields: append(e.x.Request.Fields[:0], browser...),
	}}
	if cookie != "" {
		e.x.Request.Fields.Add("Cookie", cookie)
	}
	if _, reply := h.Request(&e.x); reply != nil {
		b.Fatal(reply)
	}
	e.resp = head.Head{Status: 200, Fields: append(e.resp.Fields[:0], head.Field{Name: "Content-Type", Value: "text/html"})}
	if patch != "" {
		e.resp.Fields.Add(fieldPatch, patch)
	}
	if err := h.Response(&e.x, &e.resp); err != nil {
		b.Fatal(err)
	}
	h.End(&e.x, nil)
}

// bear makes a session whose Pillion-Session value has 1 KB, and its cookie.
func (e *exchange) bear(b testing.TB, h head.Handler) (cookie string) {
	e.drive(b, h, "", oneKB)
	cookie, _, _ = strings.Cut(e.resp.Fields.Get("Set-Cookie"), ";")
	return cookie
}

// oneKB is an object of 10 attributes and 1024 bytes.
var oneKB = func() string {
	var patch strings.Builder
	for i := range 10 {
		fmt.Fprintf(&patch, `,"attribute%d":%q`, i, strings.Repeat("x", 86))
	}
	return "{" + patch.String()[1:] + "}"
}()

// measured runs a benchmark and adds the CPU time of the process: on a shared machine ns/op says how busy the others were.
func measured(b *testing.B, run func(b *testing.B)) {
	b.ReportAllocs()
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	run(b)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N), "CPU-ns/op")
}

// BenchmarkHandler is what the session engine costs a request, without HTTP and without a network. Of async it is what the visitor's own request
// takes: nothing runs in the background.
func BenchmarkHandler(b *testing.B) {
	for _, mode := range []string{"sticky", "async", "shared"} {
		o := benchOptions(b, mode != "shared")
		if mode == "async" {
			o.Commit = Async
		}
		h := New(o)
		var e exchange
		cookie := "theme=dark; " + e.bear(b, h)
		b.Run(mode+"/read", func(b *testing.B) {
			measured(b, func(b *testing.B) {
				for b.Loop() {
					e.drive(b, h, cookie, "")
				}
			})
			if got := e.x.Request.Fields.Get(fieldSession); len(got) < 1000 {
				b.Fatalf("the app got %q", got)
			}
		})
		b.Run(mode+"/write", func(b *testing.B) {
			measured(b, func(b *testing.B) {
				for i := 0; b.Loop(); i++ {
					e.drive(b, h, cookie, `{"counter":`+strconv.Itoa(i)+`}`)
				}
			})
		})
		b.Run(mode+"/anonymous", func(b *testing.B) {
			measured(b, func(b *testing.B) {
				for b.Loop() {
					e.drive(b, h, "theme=dark; language=en", "")
				}
			})
		})
	}
}

// BenchmarkFront is what the balancer costs a request, without HTTP.
func BenchmarkFront(b *testing.B) {
	f := NewFront(FrontOptions{
		IntN: func(int) int { return 0 }, Metrics: metrics.NewFront(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	})
	homes := map[string]string{"web0-8080": "10.0.0.1:8080", "web1-8080": "10.0.0.2:8080"}
	f.SetSite(Site{
		Hosts: []Host{{Name: "*", Routes: []Route{{Prefix: "/", App: "shop", Cookie: "__Host-psid", Homes: homes}}}},
		Apps: []App{{Name: "shop", HealthPath: "/ready", Backends: []Backend{
			{Route: "web0-8080", Address: "10.0.0.1:8080"}, {Route: "web1-8080", Address: "10.0.0.2:8080"},
		}}},
	})
	var e exchange
	cookie := "theme=dark; " + e.bear(b, benched(b, true))
	measured(b, func(b *testing.B) {
		for b.Loop() {
			e.drive(b, f, cookie, "")
		}
	})
}

// BenchmarkMillion prints what a million sessions of 1 KB cost the memory of their home. It takes half a minute and 3 GB: run it with
//
//	PILLION_MILLION=1 go test ./sidecar -run '^$' -bench Million -benchtime 1x
func BenchmarkMillion(b *testing.B) {
	if os.Getenv("PILLION_MILLION") == "" {
		b.Skip("PILLION_MILLION is not set")
	}
	const n = 1_000_000
	debug.SetGCPercent(40) // as cmd/pillion does
	runtime.GC()
	before := memory()
	h := benched(b, true)
	var e exchange
	for b.Loop() {
		for i := len(h.keeper.(*sticky).table.all()); i < n; i++ {
			e.bear(b, h)
		}
	}
	resident := rss(b)
	runtime.GC()
	after := memory()
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/session")
	b.ReportMetric(float64(resident)/n, "RSS-B/session")
	b.ReportMetric(float64(h.keeper.(*sticky).table.bytes.Load())/n, "accounted-B/session")
	var gc debug.GCStats
	gc.PauseQuantiles = make([]time.Duration, 3)
	debug.ReadGCStats(&gc)
	b.ReportMetric(float64(gc.PauseQuantiles[1].Microseconds()), "GC-median-us")
	b.ReportMetric(float64(gc.PauseQuantiles[2].Microseconds()), "GC-max-us")
}

func memory() (m runtime.MemStats) {
	runtime.ReadMemStats(&m)
	return m
}

func rss(b testing.TB) int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Skip(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
