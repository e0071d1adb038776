package enginetest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

var encodings = behaviours{
	"EncoderChangesBodies": testEncoderChangesBodies,
	"EncoderOfABrokenBody": testEncoderOfABrokenBody,
}

// shouter is a session engine that sends bodies in capitals.
type shouter struct {
	*handler
	closed atomic.Int64
}

func (s *shouter) Encode(x *head.Exchange, h *head.Head) head.Recoder {
	defer s.enter(x, "Encode")()
	h.Fields.Del("Content-Length")
	h.Fields.Add("Content-Encoding", "shout")
	return func(body io.Reader) io.ReadCloser { return &shout{s, body} }
}

type shout struct {
	s    *shouter
	body io.Reader
}

func (b *shout) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	copy(p, bytes.ToUpper(p[:n]))
	return n, err
}

func (b *shout) Close() error {
	b.s.closed.Add(1)
	return nil
}

func startShouter(t *testing.T, build Build, app http.HandlerFunc) (*rig, *shouter) {
	s := &shouter{handler: &handler{t: t}}
	r := startHTTP(t, build, s.handler, head.EngineOptions{Handler: s}, app)
	return r, s
}

func testEncoderChangesBodies(t *testing.T, build Build) {
	flushed := make(chan struct{})
	r, s := startShouter(t, build, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/204":
			w.WriteHeader(204)
		case "/stream":
			fmt.Fprint(w, "first")
			_ = http.NewResponseController(w).Flush()
			<-flushed
			w.Header().Set(http.TrailerPrefix+"X-Sum", "7")
			fmt.Fprint(w, "second")
		default:
			fmt.Fprint(w, strings.Repeat("body", 10))
		}
	})
	res, body := r.get("/")
	if body != strings.Repeat("BODY", 10) || res.ContentLength != -1 || res.Header.Get("Content-Encoding") != "shout" {
		t.Errorf("%q, length %d, %v", body, res.ContentLength, res.Header)
	}
	if res, _ := r.get("/204"); res.Header.Get("Content-Encoding") != "shout" || s.closed.Load() != 1 {
		t.Errorf("%v, %d closed", res.Header, s.closed.Load())
	}
	if res, _ := r.do("HEAD", "/", nil); res.Header.Get("Content-Encoding") != "shout" || res.ContentLength > 0 || s.closed.Load() != 1 {
		t.Errorf("%v, %d closed", res, s.closed.Load())
	}

	res = r.open("GET", "/stream", nil)
	first := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, first); err != nil || string(first) != "FIRST" { // while the app waits
		t.Errorf("%q, %v", first, err)
	}
	close(flushed)
	rest, err := io.ReadAll(res.Body)
	if err != nil || string(rest) != "SECOND" || res.Trailer.Get("X-Sum") != "7" {
		t.Errorf("%q, %v, %v", rest, err, res.Trailer)
	}
}

// A body that breaks off, on either side, gives back what encoded it, and is not made to look whole.
func testEncoderOfABrokenBody(t *testing.T, build Build) {
	r, s := startShouter(t, build, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	res := r.open("GET", "/", nil)
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a broken body ends well: %q", body)
	}
	eventually(t, "the exchange ends", func() bool { return s.ended.Load() == 1 })
	if s.closed.Load() != 1 {
		t.Errorf("closed %d times", s.closed.Load())
	}
}
