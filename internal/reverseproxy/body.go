package reverseproxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var errNotWanted = errors.New("reverseproxy: the app answered without asking for the body")

// outgoingBody prepares r's body, and the trailers that may follow it when its length is unknown. Both the announced trailers
// and others reach the app: net/http fills the map of the client's request when its body ends, and Transport writes it then.
func (x *exchange) outgoingBody(r *http.Request) {
	if r.ContentLength < 0 {
		if x.request.Trailer == nil {
			x.request.Trailer = http.Header{}
		}
		r.Trailer = x.request.Trailer
		endTrailer(r.Trailer)
	}
	if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		x.decided = make(chan struct{})
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
	ended   atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	b.begun.Store(true)
	if b.x.decided != nil && !b.x.wantsBody() {
		return 0, errNotWanted
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		endTrailer(b.trailer)
		b.ended.Store(true)
		b.x.deadline.start()
	} else if err != nil {
		err = &bodyError{err}
	}
	return n, err
}

// unread tells whether the response begins before the body has ended. Nothing may follow on such a connection: the rest of the
// body, or what is malformed in it, must not be taken for a request (P1). And on any other net/http would now read the body to
// be ready for the next request, from under the app.
func (b *requestBody) unread() bool { return b != nil && !b.ended.Load() }

// whole tells whether nothing of the body was taken yet. ReverseProxy does not close it when a try fails.
func (b *requestBody) whole() bool { return b == nil || !b.begun.Load() }

// bodyError marks what is the client's fault among the errors of a round trip.
type bodyError struct{ error }

func (e *bodyError) Unwrap() error { return e.error }

// wantsBody waits for what the app says to a client that holds back its body. Transport reads the body when the app said 100,
// when it said nothing for head.ContinueAfter, and also after a final answer, to keep its connection usable. In that last case the
// body must not be asked for: the client has its answer, and ours would be a 100 behind it. An error then, when everything is
// over, costs the connection to the app.
func (x *exchange) wantsBody() bool {
	timer := time.NewTimer(head.ContinueAfter)
	defer timer.Stop()
	select {
	case <-x.decided:
	case <-timer.C:
		x.sendContinue()
	case <-x.Context.Done():
		return false
	}
	x.mu.Lock()
	continued := x.continued
	x.mu.Unlock()
	if !continued {
		<-x.Context.Done()
	}
	return continued
}

// decide ends that wait. x.mu is held.
func (x *exchange) decide() {
	if x.decided != nil && !x.continued && x.status == 0 {
		close(x.decided)
	}
}

// sendContinue asks for the body in the app's place. net/http would do it at the first read too, but without regard for a 1xx
// that is being written at that moment.
func (x *exchange) sendContinue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.continued || x.status != 0 {
		return
	}
	x.decide()
	x.continued = true
	if x.request.ProtoMajor == 1 {
		x.client.WriteHeader(http.StatusContinue)
	}
}
