package sidecar_test

import (
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/pillion-proxy/pillion/internal/head"
)

const longPage = "Content-Type: text/html; charset=utf-8\nContent-Length: 4096\n"

func fieldsOf(lines string) (f head.Fields) {
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		f.Add(name, value)
	}
	return f
}

func TestFrontEncodes(t *testing.T) {
	for _, c := range []struct {
		name     string
		accept   string
		status   int
		fields   string
		encoding string
		vary     string
	}{
		{"gzip", "gzip", 200, longPage, "gzip", "Accept-Encoding"},
		{"zstd", "gzip, deflate, br, zstd", 200, longPage, "zstd", "Accept-Encoding"},
		{"an error page", "gzip", 404, longPage, "gzip", "Accept-Encoding"},
		{"a stream", "gzip", 200, "Content-Type: application/json", "gzip", "Accept-Encoding"},
		{"not asked for", "", 200, longPage, "", "Accept-Encoding"},
		{"refused", "gzip;q=0, identity", 200, longPage, "", "Accept-Encoding"},
		{"vary is there", "gzip", 200, longPage + "Vary: Cookie, accept-encoding", "gzip", "Cookie, accept-encoding"},
		{"vary is another", "gzip", 200, longPage + "Vary: Cookie", "gzip", "Cookie|Accept-Encoding"},
		{"vary on all", "gzip", 200, longPage + "Vary: *", "gzip", "*"},
		{"short", "gzip", 200, "Content-Type: text/html\nContent-Length: 511", "", ""},
		{"empty", "gzip", 200, "Content-Type: text/html\nContent-Length: 0", "", ""},
		{"an image", "gzip", 200, "Content-Type: image/png\nContent-Length: 4096", "", ""},
		{"no type", "gzip", 200, "Content-Length: 4096", "", ""},
		{"events", "gzip", 200, "Content-Type: text/event-stream", "", ""},
		{"encoded by the app", "gzip", 200, longPage + "Content-Encoding: br", "", ""},
		{"a part", "gzip", 206, longPage + "Content-Range: bytes 0-4095/9999", "", ""},
		{"no transform", "gzip", 200, longPage + "Cache-Control: private, No-Transform", "", ""},
		{"a digest", "gzip", 200, longPage + "Content-Digest: sha-256=:x:", "", ""},
		{"switching", "gzip", 204, "Content-Type: text/html", "", ""},
	} {
		b := newBalancer(t, "a1")
		x := request("GET")
		if c.accept != "" {
			x.Request.Fields.Add("Accept-Encoding", c.accept)
		}
		b.must(x, "a1")
		h := &head.Head{Status: c.status, Fields: fieldsOf(c.fields)}
		encoding := h.Fields.Get("Content-Encoding")
		recode := b.Encode(x, h)
		if (recode != nil) != (c.encoding != "") {
			t.Errorf("%s: recoded %t", c.name, recode != nil)
		}
		if got := h.Fields.Get("Content-Encoding"); got != c.encoding && got != encoding {
			t.Errorf("%s: Content-Encoding %q", c.name, got)
		}
		if got := strings.Join(h.Fields.Values("Vary"), "|"); got != c.vary {
			t.Errorf("%s: Vary %q, want %q", c.name, got, c.vary)
		}
		if recode != nil && (h.Fields.Has("Content-Length") || h.Fields.Has("Accept-Ranges")) {
			t.Errorf("%s: %v", c.name, h.Fields)
		}
	}
}

// A strong tag names bytes, and these are others: it becomes weak, as Envoy is told to make it, and a 304 says the same.
func TestFrontWeakensTags(t *testing.T) {
	for _, c := range []struct {
		accept, match string
		status        int
		tag, want     string
	}{
		{"gzip", "", 200, `"x"`, `W/"x"`},
		{"gzip", "", 200, `W/"x"`, `W/"x"`},
		{"", "", 200, `"x"`, `"x"`},
		{"gzip", `W/"x"`, 304, `"x"`, `W/"x"`},
		{"gzip", `"y", W/"x"`, 304, `"x"`, `W/"x"`},
		{"gzip", `"x"`, 304, `"x"`, `"x"`},
		{"", `W/"x"`, 304, `"x"`, `"x"`},
	} {
		b := newBalancer(t, "a1")
		x := request("GET")
		x.Request.Fields = append(x.Request.Fields, head.Field{Name: "Accept-Encoding", Value: c.accept}, head.Field{Name: "If-None-Match", Value: c.match})
		b.must(x, "a1")
		h := &head.Head{Status: c.status, Fields: fieldsOf(longPage)}
		h.Fields.Add("ETag", c.tag)
		b.Encode(x, h)
		if got := h.Fields.Get("ETag"); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestFrontEncodesNothing(t *testing.T) {
	b := newBalancer(t)
	site := siteOf(fleetOf("a1"))
	site.Hosts[0].Routes[0].Compress = false
	b.SetSite(site)
	x := request("GET")
	x.Request.Fields.Add("Accept-Encoding", "gzip")
	b.must(x, "a1")
	h := &head.Head{Status: 200, Fields: fieldsOf(longPage)}
	if b.Encode(x, h) != nil || h.Fields.Has("Vary") {
		t.Errorf("%v", h.Fields)
	}
}

func TestFrontEncodedBody(t *testing.T) {
	b := newBalancer(t, "a1")
	x := request("GET")
	x.Request.Fields.Add("Accept-Encoding", "gzip")
	b.must(x, "a1")
	body := b.Encode(x, &head.Head{Status: 200, Fields: fieldsOf(longPage)})(strings.NewReader(strings.Repeat("page", 1024)))
	plain, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(plain); err != nil || len(text) != 4096 {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}
