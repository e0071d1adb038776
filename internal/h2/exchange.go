package h2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var (
	errClosed = errors.New("h2: the session of the exchange ended")
	errFlood  = errors.New("h2: the app sends 1xx responses without end")
	errLost   = errors.New("h2: the Handler has given the answer up")
)

// exchange is one request and its response on the way through ReverseProxy, which sees it as its http.ResponseWriter.
type exchange struct {
	head.Exchange
	engine  *Engine
	request *http.Request // the client's
	client  http.ResponseWriter
	body    *requestBody // on its way to the app; nil without one
	started time.Time
	weight  weight // of the head as it came

	deadline *deadline // nil without one
	attempt  attempt

	again func(*head.Exchange) (head.To, *head.Reply) // asks the Handler for another way; nil: there was an answer

	mu      sync.Mutex // orders what Transport's goroutines write (1xx) and the final head
	status  int        // of the final head, 0 before it
	failed  error      // what Handler.Response said to a 1xx, or what is wrong with it: the final response is replaced
	interim int        // bytes of all 1xx

	bytes  int64
	err    error // why the client did not get the whole response
	cancel context.CancelCauseFunc
}

type exchangeKey struct{}

// exchangeOf finds the exchange of a request that ReverseProxy sends.
func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

func (e *Engine) serveHTTP(w http.ResponseWriter, r *http.Request) {
	e.exchanges.Add(1)
	defer e.exchanges.Add(-1)
	x := e.newExchange(w, r)
	if answer, ok := e.peer(x); ok {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(answer) // the peer asks again if it left
		return
	}
	if reply := e.refuse(x); reply != nil {
		x.reply(reply)
		return
	}
	e.options.SetForwarded(&x.Exchange)
	defer x.finish()
	to, reply := e.options.Handler.Request(&x.Exchange)
	for reply == nil {
		x.again = nil
		e.proxy.ServeHTTP(x, x.outgoing(to))
		if x.again == nil {
			return
		}
		to, reply = x.again(&x.Exchange)
	}
	x.reply(reply)
}

func (e *Engine) newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{engine: e, request: r, client: w}
	if e.options.AccessLog {
		x.started = time.Now()
	}
	x.Context, x.cancel = context.WithCancelCause(r.Context())
	x.Close = func() { x.cancel(errClosed) }
	x.Lose = x.attempt.lose
	x.TLS = r.TLS
	if remote, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.Remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
		x.RemoteIP = x.Remote.Addr().String()
	}
	x.Request = head.Head{Method: r.Method, Target: r.RequestURI, Authority: r.Host, Fields: fromHeader(r.Header)}
	x.weight = weigh(x.Request.Fields)
	x.Request.Fields.EndHop()
	return x
}

// finish ends the exchange whatever happened. It is deferred: a panic of the Handler becomes a 500, or cuts the response off
// when it has begun; ReverseProxy's own http.ErrAbortHandler goes on to net/http, which resets the stream.
func (x *exchange) finish() {
	abort := false
	switch panicked := recover(); panicked {
	case nil:
		if errors.Is(context.Cause(x.Context), errClosed) {
			x.note(errClosed)
		}
	case http.ErrAbortHandler:
		abort = true
		x.note(x.cutOff())
	default:
		x.engine.options.Log.Error("panic in an exchange", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		if abort = x.began(); abort {
			x.note(head.ErrTruncated)
		} else {
			x.reply(head.InternalError)
		}
	}
	if x.deadline != nil {
		x.deadline.stop()
		x.deadline.cancel()
	}
	x.attempt.end()
	if !abort {
		_ = x.FlushError() // the client need not wait for End
	}
	x.logAccess()
	x.engine.options.Handler.End(&x.Exchange, x.err)
	x.cancel(nil)
	if abort {
		panic(http.ErrAbortHandler)
	}
}

// cutOff says whose end broke a response off.
func (x *exchange) cutOff() error {
	if errors.Is(context.Cause(x.Context), errClosed) {
		return errClosed
	}
	if x.Context.Err() != nil {
		return head.ErrClientGone
	}
	return head.ErrTruncated
}

// logAccess writes the line of the access log.
func (x *exchange) logAccess() {
	if x.engine.options.AccessLog {
		head.LogAccess(x.engine.options.Log, &x.Exchange, head.Outcome{Status: x.status, Bytes: x.bytes, Took: time.Since(x.started), Err: x.err})
	}
}
