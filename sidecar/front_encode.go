package sidecar

import (
	"io"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/coding"
	"github.com/pillion-proxy/pillion/internal/head"
)

// encodeFrom is the shortest body that is encoded: a shorter one takes one packet either way.
const encodeFrom = 512

// encodable are the types that get much shorter, Envoy's list. Event streams are not in it: each of them would keep an encoder for as long as
// its visitor stays, for a few bytes.
var encodable = map[string]bool{
	"text/html": true, "text/plain": true, "text/css": true, "text/xml": true, "text/javascript": true, "application/javascript": true,
	"application/x-javascript": true, "application/ecmascript": true, "application/json": true, "application/manifest+json": true,
	"application/problem+json": true, "application/ld+json": true, "application/xml": true, "application/xhtml+xml": true,
	"application/rss+xml": true, "application/atom+xml": true, "application/wasm": true, "image/svg+xml": true,
}

// digests are of the body as it came.
var digests = []string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5"}

// Encode chooses a content coding for what the app sent plain. What could have been encoded says so in Vary, encoded or not: a cache must not
// give one client what another one asked for.
func (f *Front) Encode(x *head.Exchange, h *head.Head) head.Recoder {
	e, ok := x.Session.(*errand)
	if !ok || e.route == nil || !e.route.Compress {
		return nil
	}
	if h.Status == 304 {
		notModified(x, h)
		return nil
	}
	if !mayEncode(h) {
		return nil
	}
	varyByEncoding(&h.Fields)
	accept := coding.Choose(x.Request.Fields.Values("Accept-Encoding"))
	if accept == coding.Identity {
		return nil
	}
	if f.encoders.Busy() {
		f.opts.Metrics.Encoded.WithLabelValues("busy").Inc()
		return nil
	}
	f.opts.Metrics.Encoded.WithLabelValues(string(accept)).Inc()
	h.Fields.Del("Content-Length")
	h.Fields.Del("Accept-Ranges") // of the plain body
	h.Fields.Add("Content-Encoding", string(accept))
	if tag := h.Fields.Get("ETag"); strings.HasPrefix(tag, `"`) {
		h.Fields.Set("ETag", "W/"+tag) // the same page, not the same bytes (RFC 9110, section 8.8.1)
	}
	return func(body io.Reader) io.ReadCloser { return f.encoders.Reader(accept, body) }
}

// notModified says what the answer that it stands for said (RFC 9110, section 15.4.5): a client that knows the page by the weak form of its tag
// got it encoded.
func notModified(x *head.Exchange, h *head.Head) {
	tag := h.Fields.Get("ETag")
	if !strings.HasPrefix(tag, `"`) || coding.Choose(x.Request.Fields.Values("Accept-Encoding")) == coding.Identity {
		return
	}
	if listed(x.Request.Fields.Values("If-None-Match"), "W/"+tag) {
		h.Fields.Set("ETag", "W/"+tag)
		varyByEncoding(&h.Fields)
	}
}

func mayEncode(h *head.Head) bool {
	kind, _, _ := strings.Cut(h.Fields.Get("Content-Type"), ";")
	if !encodable[strings.ToLower(strings.TrimSpace(kind))] {
		return false
	}
	if h.Status < 200 || h.Status == 204 || h.Status == 205 || h.Status == 206 || h.Fields.Has("Content-Range") || h.Fields.Has("Content-Encoding") {
		return false
	}
	if length := h.Fields.Get("Content-Length"); length != "" {
		if n, err := strconv.ParseUint(length, 10, 63); err != nil || n < encodeFrom {
			return false
		}
	}
	for _, name := range digests {
		if h.Fields.Has(name) {
			return false
		}
	}
	return !listed(h.Fields.Values("Cache-Control"), "no-transform")
}

func varyByEncoding(fields *head.Fields) {
	if vary := fields.Values("Vary"); !listed(vary, "Accept-Encoding") && !listed(vary, "*") {
		fields.Add("Vary", "Accept-Encoding")
	}
}

// listed tells whether a list of tokens, over all its lines, has this one.
func listed(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

var _ head.Encoder = (*Front)(nil)
