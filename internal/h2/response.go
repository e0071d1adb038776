package h2

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

var (
	errSwitched  = errors.New("h2: the app switches to a protocol that nobody has offered")
	errBadStatus = errors.New("h2: the app's answer has no final status of HTTP/1")
)

// modifyResponse is ReverseProxy's hook for the final head: the Handler edits it, and may take its time to. An error
// goes to handleError; ReverseProxy closes the app's body.
func modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request)
	switch {
	case !x.attempt.answered():
		return errLost
	case x.failed != nil:
		return x.failure(x.failed)
	case res.StatusCode == http.StatusSwitchingProtocols:
		return errSwitched
	case res.ProtoMajor != 1 || res.StatusCode < 200:
		return errBadStatus // Transport reads "HTTP/3.1 20" too
	}
	h := head.Head{Status: res.StatusCode, Fields: fromHeader(res.Header)}
	h.Fields.EndHop()
	switch err := x.engine.options.Handler.Response(&x.Exchange, &h); {
	case errors.Is(err, head.ErrNotExecuted) && x.body == nil:
		return err
	case err != nil && !errors.Is(err, head.ErrNotExecuted):
		return x.failure(err)
	}
	res.StatusCode = h.Status
	if res.ContentLength < 0 {
		endTrailer(res.Trailer)
		res.Body = &responseBody{res.Body, res, x}
	}
	x.encode(res, &h)
	res.Header = nil // ReverseProxy would copy it
	x.setHeader(h.Fields)
	return nil
}

// encode lets a Handler that is an Encoder put another body in the place of the app's.
func (x *exchange) encode(res *http.Response, h *head.Head) {
	encoder, ok := x.engine.options.Handler.(head.Encoder)
	if !ok {
		return
	}
	recode := encoder.Encode(&x.Exchange, h)
	if recode == nil || res.Body == http.NoBody { // HEAD, 204, 304
		return
	}
	res.Body = &recodedBody{recode(res.Body), res.Body}
	res.ContentLength = -1 // so that ReverseProxy holds nothing back
}

// recodedBody is read through what a Recoder made.
type recodedBody struct {
	io.ReadCloser
	body io.Closer
}

// Close closes both. ReverseProxy may do it twice.
func (b *recodedBody) Close() error {
	if b.ReadCloser == nil {
		return nil
	}
	err := errors.Join(b.ReadCloser.Close(), b.body.Close())
	b.ReadCloser = nil
	return err
}

// setHeader makes fields the final head.
func (x *exchange) setHeader(fields head.Fields) {
	h := x.client.Header()
	toHeader(h, fields)
	x.engine.finishHeader(h)
}

// finishHeader keeps net/http from guessing a Content-Type, and has it say GOAWAY while draining.
func (e *Engine) finishHeader(h http.Header) {
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
	if e.draining.Load() {
		h["Connection"] = []string{"close"}
	}
}

// failure is what Handler.Response returned instead of editing a head, as the *head.Reply to send.
func (x *exchange) failure(err error) error {
	var reply *head.Reply
	if errors.As(err, &reply) {
		return reply
	}
	x.engine.options.Log.Error("response refused", "error", err)
	return head.InternalError
}

// fail makes a panic in the middle of a 1xx the failure of the exchange.
func (x *exchange) fail(panicked any) {
	x.failed = fmt.Errorf("h2: panic in a 1xx response: %v", panicked)
}

// responseBody shows the trailers to the Handler when the body ends. They leave as net/http's undeclared ones, which works
// for those that Trailer announced too, and nothing is left for ReverseProxy to copy.
type responseBody struct {
	io.ReadCloser
	res *http.Response
	x   *exchange
}

func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && len(b.res.Trailer) > 0 {
		b.x.setTrailer(b.res.Trailer)
		b.res.Trailer = nil
	}
	return n, err
}

func (x *exchange) setTrailer(trailer http.Header) {
	h := head.Head{Status: x.status, Fields: fromHeader(trailer)}
	if len(h.Fields) == 0 {
		return // announced and not sent
	}
	x.engine.options.Handler.Trailer(&x.Exchange, &h)
	h.Fields.EndTrailer()
	edited := make(http.Header, len(h.Fields))
	toHeader(edited, h.Fields)
	for name, values := range edited {
		x.client.Header()[http.TrailerPrefix+name] = values
	}
}
