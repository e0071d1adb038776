// Package head is what the HTTP engines and the session engine say to each other: the head of a request or response, the
// exchange it belongs to, and the Handler an engine drives.
//
// An engine (internal/h1, and internal/h2 for HTTP/2) owns connections, framing and bodies and knows no sessions. A
// Handler owns the session and knows no connection. The engine calls, in this order and for one exchange never two at once:
//
//	Request   once, after hop-by-hop fields were removed and before the app is contacted; it edits x.Request in place
//	Response  for each 1xx, for 101 and for the final head, before its first byte leaves; it edits the head in place
//	Encode    of an Encoder, once, after Response for the final head; it may put another body in the place of the app's
//	Trailer   once, when the response ends with trailer fields
//	End       exactly once, whatever happened, also after a panic
//
// A *Reply, returned by Request or as the error of Response, is sent in place of what the app said or would have said.
package head

import (
	"context"
	"crypto/tls"
	"io"
	"net/netip"
	"time"
)

// Head is the head of a request (Method, Target, Authority) or of a response (Status).
type Head struct {
	Method    string
	Target    string // request-target in origin form, byte for byte as the client sent it
	Authority string // Host, or :authority
	Status    int
	Fields    Fields
}

// Exchange is one request and its response.
type Exchange struct {
	Context  context.Context // ends when the client left or the exchange ended
	Remote   netip.AddrPort
	RemoteIP string               // its address; "" on a Unix socket
	TLS      *tls.ConnectionState // nil over plain TCP
	Request  Head                 // as it goes to the app
	Session  any                  // the Handler's state of this exchange

	// Close breaks the exchange off: both connections end, the app sees its client leave, End follows. The engine sets it and never blocks
	// in it. The Handler may call it from any goroutine, after it has let the final head pass; End must not return before the call has.
	Close func()

	// Lose gives up the answer that is awaited, as if the connection had broken: a Repeater is asked what becomes of the request. It does
	// nothing while no final head is awaited. The engine sets it and never blocks in it. The Handler may call it from any goroutine, as long
	// as it knows that no other try has begun and the exchange has not ended.
	Lose func()
}

// To is where a request goes: the app's address.
type To struct {
	Network string // "tcp" or "unix"
	Address string
	// Timeout bounds what follows the end of the request until the end of its response, over all tries; 0 is no bound. An engine's own
	// bound for the head of a response stands beside it, and a tunnel has none.
	Timeout time.Duration
}

// Rerouter is a Handler that may know another way when the one it named is a dead end.
type Rerouter interface {
	// Unreached is told that nobody listens where Request sent x: nothing of it was sent. It prepares x.Request anew.
	Unreached(x *Exchange) (To, *Reply)
}

// Repeater is a Rerouter that may have a request sent again although the one before may have executed it.
type Repeater interface {
	Rerouter
	// Lost is told that the connection broke before an answer to x could be read. It says where x goes now, or the answer. Where x is
	// not whole, its body being gone, it must be an answer.
	Lost(x *Exchange, whole bool) (To, *Reply)
}

// Encoder is a Handler that may send a response's body in another form than the app gave it.
type Encoder interface {
	// Encode edits the final head of a response, which Response has passed, and returns what the body is to be read through, nil where it
	// stays as it is. It is also asked where no body follows (HEAD, 304): such a head is edited alike and its Recoder is dropped.
	Encode(x *Exchange, h *Head) Recoder
}

// Recoder turns a body into another one as it is read. A Read returns what is there, without waiting for more of the body than one Read of
// that gives: a stream is never held back. The length of the new body is not known before its end, and the trailers of the old one are those
// of the new. The engine calls a Recoder at most once, closes what it returns, without which it would be lost to its pool, and closes body
// itself.
type Recoder func(body io.Reader) io.ReadCloser

// Voucher is a Handler that knows requests which another sidecar of its fleet passed on.
type Voucher interface {
	// Vouched tells, before anything of x.Request is replaced, whether its X-Forwarded fields come from such a sidecar.
	Vouched(x *Exchange) bool
}

// Handler is the session engine as an HTTP engine drives it.
type Handler interface {
	// Request prepares x.Request and says where it goes, or returns the answer itself.
	Request(x *Exchange) (To, *Reply)
	// Response edits a response head (1xx, 101 or final). An error that is a *Reply is sent in its place. After ErrNotExecuted a
	// Rerouter is asked for another way, as if nobody had listened; where that is not possible the head is sent as edited.
	Response(x *Exchange, h *Head) error
	// Trailer edits the trailer fields of the final response.
	Trailer(x *Exchange, h *Head)
	// End is told that the exchange is over; err is nil when the whole response reached the client.
	End(x *Exchange, err error)
}
