package sidecar_test

import (
	"context"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// BenchmarkFront is what the front costs a request, without HTTP: a visitor with a home among ten cookies and headers of a browser, one without,
// and one at a site of many apps.
func BenchmarkFront(b *testing.B) {
	many := mall()
	for _, c := range []struct {
		name, host, cookie string
		site               bool
	}{
		{"home", "shop.example", "theme=dark; " + homed("a2") + "; _ga=GA1.2.1234567890.1234567890", false},
		{"new", "shop.example", "", false},
		{"many apps", "shop.example", homed("r"), true},
	} {
		b.Run(c.name, func(b *testing.B) {
			front := newBalancer(b, "a1", "a2", "a3", "a4")
			if c.site {
				front.SetSite(many)
			}
			var fields head.Fields
			for _, f := range []head.Field{
				{Name: "User-Agent", Value: "Mozilla/5.0"}, {Name: "Accept", Value: "*/*"}, {Name: "Accept-Encoding", Value: "identity"}, {Name: "Cookie", Value: c.cookie},
			} {
				fields = append(fields, f)
			}
			x := &head.Exchange{Context: context.Background()}
			answer := &head.Head{}
			b.ReportAllocs()
			for b.Loop() {
				x.Request = head.Head{Method: "GET", Target: "/api/v2/items?page=2", Authority: c.host, Fields: fields}
				if _, reply := front.Request(x); reply != nil {
					b.Fatal(reply)
				}
				*answer = head.Head{Status: 200, Fields: append(answer.Fields[:0], head.Field{Name: "Content-Type", Value: "image/png"})}
				if err := front.Response(x, answer); err != nil {
					b.Fatal(err)
				}
				front.Encode(x, answer)
				front.End(x, nil)
			}
		})
	}
}
