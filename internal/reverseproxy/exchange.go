package reverseproxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

var (
	errClientGone = errors.New("reverseproxy: the client left")
	errTruncated  = errors.New("reverseproxy: the app's response broke off")
	errClosed     = errors.New("reverseproxy: the session of the exchange ended")
)

// exchange is one request and its response on the way through ReverseProxy, which sees it as its http.ResponseWriter.
type exchange struct {
	head.Exchange
	engine  *Engine
	request *http.Request // the client's
	client  http.ResponseWriter
	upgrade string        // the protocols the client offers to switch to
	body    *requestBody  // on its way to the app; nil without one
	decided chan struct{} // closed when the app says whether it wants the body; nil when the client does not wait for that
	started time.Time

	deadline *deadline // nil without one

	again func(*head.Exchange) (head.To, *head.Reply) // asks the Handler for another way; nil: there was an answer

	mu        sync.Mutex // orders what Transport's goroutines write (1xx) and the final head
	continued bool       // the body was asked for with a 100
	status    int        // of the final head, 0 before it
	failed    error      // what Handler.Response said to a 1xx: the final response is replaced

	bytes  int64
	tunnel bool  // the connection was hijacked
	err    error // why the client did not get the whole response
	cancel context.CancelCauseFunc
}

type exchangeKey struct{}

// exchangeOf finds the exchange of a request that ReverseProxy sends.
func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

func (e *Engine) serveHTTP(w http.ResponseWriter, r *http.Request) {
	e.exchanges.Add(1)
	defer e.exchanges.Add(-1)
	if reply, ok := e.health(r); ok {
		e.answer(w, r, reply, false)
		return
	}
	if answer, ok := e.peer(r); ok {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(answer) // the peer asks again if it left
		return
	}
	if reply := e.refuse(r); reply != nil {
		e.options.OwnAnswer(reply.Token)
		e.answer(w, r, reply, false)
		return
	}
	x := e.newExchange(w, r)
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
	if r.ProtoMajor == 1 && r.ProtoAtLeast(1, 1) { // RFC 9110, section 7.8
		x.upgrade = upgradeOf(r.Header)
	}
	removeHopByHop(r.Header)
	x.Context, x.cancel = context.WithCancelCause(r.Context())
	x.Close = func() { x.cancel(errClosed) }
	x.TLS = r.TLS
	if remote, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		x.Remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	}
	x.Request = head.Head{Method: r.Method, Target: originForm(r), Authority: r.Host, Fields: fromHeader(r.Header)}
	if voucher, ok := e.options.Handler.(head.Voucher); !ok || !voucher.Vouched(&x.Exchange) {
		e.setForwarded(&x.Exchange)
	}
	return x
}

// finish ends the exchange whatever happened. It is deferred: a panic of the Handler becomes a 500, or cuts the response off
// when it has begun; ReverseProxy's own http.ErrAbortHandler goes on to net/http, which closes the connection.
func (x *exchange) finish() {
	abort := false
	switch panicked := recover(); panicked {
	case nil:
		if context.Cause(x.Context) == errClosed {
			x.note(errClosed)
		}
	case http.ErrAbortHandler:
		abort = true
		x.note(x.cutOff())
	default:
		x.engine.options.Log.Error("panic in an exchange", "panic", fmt.Sprint(panicked), "stack", string(debug.Stack()))
		if abort = x.began(); abort {
			x.note(errTruncated)
		} else {
			x.reply(internalError)
		}
	}
	if x.deadline != nil {
		x.deadline.stop()
		x.deadline.cancel()
	}
	switch {
	case x.tunnel:
		x.engine.clients.leave()
	case !abort:
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
	if context.Cause(x.Context) == errClosed {
		return errClosed
	}
	if x.Context.Err() != nil {
		return errClientGone
	}
	return errTruncated
}

// logAccess writes one line without query, field or body: they may hold secrets. A Handler's state that is a slog.LogValuer
// adds what it likes, such as the session's ref.
func (x *exchange) logAccess() {
	if !x.engine.options.AccessLog {
		return
	}
	path, _, _ := strings.Cut(x.Request.Target, "?")
	attrs := []slog.Attr{
		slog.String("method", x.Request.Method), slog.String("host", x.Request.Authority), slog.String("path", path),
		slog.Int("status", x.status), slog.Int64("bytes", x.bytes), slog.Duration("took", time.Since(x.started)),
		slog.String("remote", x.Remote.Addr().String()),
	}
	if session, ok := x.Session.(slog.LogValuer); ok {
		attrs = append(attrs, slog.Any("session", session))
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	x.engine.options.Log.LogAttrs(context.Background(), slog.LevelInfo, "access", attrs...)
}
