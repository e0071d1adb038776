package reverseproxy

import (
	"errors"
	"io"
	"net"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

var (
	healthy = &head.Reply{Status: http.StatusOK, Body: "ok\n", Fields: head.Fields{
		{Name: "Content-Type", Value: "text/plain; charset=utf-8"}, {Name: "Cache-Control", Value: "no-store"},
	}}
	draining  = head.Fail(http.StatusServiceUnavailable, head.Draining, "this sidecar is leaving")
	unhealthy = head.Fail(http.StatusServiceUnavailable, head.AppUnreachable, "not ready; /ready of the admin listener says why")

	noPeer         = head.Fail(http.StatusNotFound, head.RequestRefused, "no such path")
	notImplemented = head.Fail(http.StatusNotImplemented, head.RequestRefused, "method is not implemented")
	tooManyFields  = head.Fail(http.StatusRequestHeaderFieldsTooLarge, head.RequestRefused, "too many header fields")
	tooLongFields  = head.Fail(http.StatusRequestHeaderFieldsTooLarge, head.RequestRefused, "header fields are too long")
	badBody        = head.Fail(http.StatusBadRequest, head.RequestRefused, "request body is malformed or incomplete")

	// A retrying front may send the request elsewhere after unreachable: the app has seen nothing of it.
	unreachable = head.Fail(http.StatusServiceUnavailable, head.AppUnreachable, "app does not accept connections").Unexecuted()
	timedOut    = head.Fail(http.StatusGatewayTimeout, head.AppTimeout, "app did not answer in time")
	badAnswer   = head.Fail(http.StatusBadGateway, head.AppUnreachable, "app closed the connection or its answer is malformed")

	internalError = head.Fail(http.StatusInternalServerError, "proxy_internal_error", "internal error") // RFC 9209, section 2.3
)

// health answers probes before anything else is looked at.
func (e *Engine) health(r *http.Request) (*head.Reply, bool) {
	switch {
	case e.options.HealthPath == "" || r.URL.Path != e.options.HealthPath:
		return nil, false
	case e.draining.Load():
		return draining, true
	case !e.options.Health():
		return unhealthy, true
	}
	return healthy, true
}

// refuse returns the answer to a request that no Handler shall see, nil for the others.
func (e *Engine) refuse(r *http.Request) *head.Reply {
	if r.Method == http.MethodConnect || r.Method == http.MethodTrace { // P6
		return notImplemented
	}
	if clean := path.Clean(r.URL.Path); clean == peerPath || strings.HasPrefix(clean, peerPath+"/") {
		return noPeer
	}
	limits := e.limits.Load()
	lines, bytes := 0, 0
	for name, values := range r.Header {
		lines += len(values)
		for _, value := range values {
			bytes += len(name) + len(value) + len(": \r\n")
		}
	}
	switch { // P3
	case limits.HeaderCount > 0 && lines > limits.HeaderCount:
		return tooManyFields
	case limits.HeaderBytes > 0 && bytes > limits.HeaderBytes:
		return tooLongFields
	}
	return nil
}

// handleError is ReverseProxy's hook for everything that keeps it from relaying a response.
func handleError(w http.ResponseWriter, _ *http.Request, err error) {
	x := w.(*exchange)
	var reply *head.Reply
	switch {
	case x.began():
		x.note(err)
		panic(http.ErrAbortHandler)
	case errors.As(err, &reply):
		x.reply(reply)
	case x.failed != nil:
		errors.As(x.failure(x.failed), &reply)
		x.reply(reply)
	case x.Context.Err() != nil:
		x.err = errClientGone
		panic(http.ErrAbortHandler) // nobody listens
	case x.deadline.passed():
		x.engine.options.Log.Warn("no answer from the app in the time that its route gives")
		x.reply(timedOut)
	case x.mayGoOn(err):
	default:
		reply = replyTo(err)
		x.engine.options.Log.Warn("no answer from the app", "status", reply.Status, "error", err)
		x.reply(reply)
	}
}

// mayGoOn settles whom to ask where the request goes now: only a Handler that takes part in it, and with a body only when the failed try has
// taken nothing of it.
func (x *exchange) mayGoOn(err error) bool {
	var (
		dial    *unreachableError
		body    *bodyError
		timeout net.Error
	)
	rerouter, _ := x.engine.options.Handler.(head.Rerouter)
	repeater, _ := x.engine.options.Handler.(head.Repeater)
	switch {
	case rerouter == nil:
	case errors.Is(err, head.ErrNotExecuted), errors.As(err, &dial) && x.body.whole():
		x.again = rerouter.Unreached
	case repeater == nil || errors.As(err, &body) || errors.Is(err, errBadUpgrade) || errors.As(err, &timeout) && timeout.Timeout():
	default:
		x.engine.options.Log.Warn("connection lost", "error", err)
		whole := x.body == nil
		x.again = func(e *head.Exchange) (head.To, *head.Reply) { return repeater.Lost(e, whole) }
	}
	return x.again != nil
}

// replyTo maps what went wrong between us and the app to the answer.
func replyTo(err error) *head.Reply {
	var (
		dial    *unreachableError
		body    *bodyError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dial):
		return unreachable
	case errors.As(err, &body):
		return badBody
	case errors.As(err, &timeout) && timeout.Timeout():
		return timedOut
	}
	return badAnswer
}

// reply answers an exchange in the app's place.
func (x *exchange) reply(reply *head.Reply) {
	if reply.Token != "" {
		x.engine.options.OwnAnswer(reply.Token)
	}
	x.engine.answer(x, x.request, reply, x.body.unread())
}

// answer writes reply, and nothing after it when it is the last one on the connection.
func (e *Engine) answer(w http.ResponseWriter, r *http.Request, reply *head.Reply, last bool) {
	h := w.Header()
	clear(h)
	toHeader(h, reply.Fields)
	if reply.Body != "" {
		h["Content-Length"] = []string{strconv.Itoa(len(reply.Body))}
	}
	e.finishHeader(h, last)
	w.WriteHeader(reply.Status)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, reply.Body)
	}
}
