package h2

import (
	"io"
	"net/http"
	"sync/atomic"
)

// outgoingBody prepares r's body, and the trailers that may follow it when its length is unknown. Both the announced trailers
// and others reach the app: net/http fills the map of the client's request when its body ends, and Transport writes it then. A client
// that expects to be asked for its body (RFC 9110, section 10.1.1) is asked by net/http, with the first read.
func (x *exchange) outgoingBody(r *http.Request) {
	if r.ContentLength < 0 {
		if x.request.Trailer == nil {
			x.request.Trailer = http.Header{}
		}
		r.Trailer = x.request.Trailer
		endTrailer(r.Trailer)
	}
	x.body = &requestBody{ReadCloser: r.Body, x: x, trailer: r.Trailer}
	r.Body = x.body
}

// requestBody is a client's body on its way to the app, read in a goroutine of Transport.
type requestBody struct {
	io.ReadCloser
	x       *exchange
	trailer http.Header
	begun   atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		endTrailer(b.trailer)
		b.x.deadline.start()
	} else if err != nil {
		err = &bodyError{err}
	}
	return n, err
}

// whole tells whether nothing of the body was taken yet. ReverseProxy does not close it when a try fails.
func (b *requestBody) whole() bool { return b == nil || !b.begun.Load() }

// bodyError marks what is the client's fault among the errors of a round trip.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }
