package sidecar

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/metrics"
	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
	"github.com/pillion-proxy/pillion/sessioncodec"
)

// oneNode is a store of one record, without a network.
type oneNode struct{ record *sessioncodec.Record }

func (s *oneNode) Place() string { return "n1" }

func (s *oneNode) Load(context.Context, ring.ID, store.Reach) (store.Found, error) {
	return store.Found{Record: s.record}, nil
}

func (s *oneNode) Save(_ context.Context, _ ring.ID, w store.Write) (store.Saved, error) {
	joined, err := w.Join(s.record)
	if err == nil {
		s.record = joined
	}
	return store.Saved{Node: "n1", Acks: 2, Record: joined}, err
}

func (s *oneNode) Lock(context.Context, ring.ID, time.Duration) (func(), error) {
	return func() {}, nil
}

// BenchmarkRead is what the engine costs a request that reads a session of 1 KB: from memory, and from a store that costs nothing.
func BenchmarkRead(b *testing.B) {
	for _, mode := range []struct {
		name   string
		sticky bool
	}{{"sticky", true}, {"shared", false}} {
		b.Run(mode.name, func(b *testing.B) {
			keys, err := ring.NewKeys("shop", bytes.Repeat([]byte{1}, 32))
			if err != nil {
				b.Fatal(err)
			}
			h := New(Options{
				Store: &oneNode{}, Keys: keys, Space: "shop", Route: "web1-8080", Incarnation: 1, Sticky: mode.sticky,
				Cookie: Cookie{Name: "__Host-psid", SameSite: "Lax"}, Idle: 30 * time.Minute, Lifetime: 24 * time.Hour,
				MaxSize: 64 << 10, InlineMax: 4 << 10, MaxPatch: 64 << 10, CommitTimeout: time.Second, Copies: 2, MemoryLimit: 1 << 30,
				Random: rand.Reader, Metrics: metrics.New(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
			})
			var patch strings.Builder
			for i := range 10 {
				fmt.Fprintf(&patch, `,"attribute%d":%q`, i, strings.Repeat("x", 80))
			}
			cookie := visit1KB(b, h, "", "{"+patch.String()[1:]+"}")
			b.ReportAllocs()
			for b.Loop() {
				visit1KB(b, h, cookie, "")
			}
		})
	}
}

// visit1KB is one exchange as an engine drives it; it returns the cookie that the answer sets.
func visit1KB(b *testing.B, h *Handler, cookie, patch string) string {
	x := &head.Exchange{Context: b.Context(), Request: head.Head{Method: "GET", Target: "/", Authority: "shop.example"}}
	x.Request.Fields = append(make(head.Fields, 0, 16),
		head.Field{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		head.Field{Name: "Accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		head.Field{Name: "Accept-Language", Value: "en-GB,en;q=0.5"},
		head.Field{Name: "Accept-Encoding", Value: "gzip, deflate, br, zstd"},
		head.Field{Name: "Cookie", Value: "theme=dark; " + cookie})
	if _, reply := h.Request(x); reply != nil {
		b.Fatal(reply)
	}
	resp := &head.Head{Status: 200, Fields: append(make(head.Fields, 0, 16), head.Field{Name: "Content-Type", Value: "text/html"})}
	if patch != "" {
		resp.Fields.Add(fieldPatch, patch)
	} else if got := len(x.Request.Fields.Get(fieldSession)); got < 900 {
		b.Fatalf("the session has %d bytes", got)
	}
	if err := h.Response(x, resp); err != nil {
		b.Fatal(err)
	}
	h.End(x, nil)
	set, _, _ := strings.Cut(resp.Fields.Get("Set-Cookie"), ";")
	return set
}
