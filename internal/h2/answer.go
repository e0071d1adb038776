package h2

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/pillion-proxy/pillion/internal/head"
)

// weight is what a head's field lines add up to.
type weight struct{ lines, bytes int }

func weigh(fields head.Fields) (w weight) {
	for _, line := range fields {
		w.lines++
		w.bytes += len(line.Name) + len(line.Value) + len(": \r\n")
	}
	return w
}

// badRequestLine: HTTP/2 carries what would be two requests, or another one, in a line of HTTP/1.1.
var badRequestLine = head.Fail(http.StatusBadRequest, head.RequestRefused, "method or request target is malformed")

func isToken(s string) bool { // RFC 9110, section 5.6.2
	return s != "" && isTarget(s) && !strings.ContainsAny(s, "\"(),/:;<=>?@[\\]{}") && isASCII(s)
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f }) }

// isTarget tells whether s has nothing that ends a target or a line.
func isTarget(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// refuse returns the answer to a request that no Handler shall see, nil for the others.
func (e *Engine) refuse(x *exchange) *head.Reply {
	limits := e.limits.Load()
	if !isToken(x.Request.Method) || !isTarget(x.Request.Target) {
		return badRequestLine
	}
	switch own := e.options.Own(x.Request.Method, x.Request.Target, e.draining.Load()); { // P3
	case own != nil:
		return own
	case limits.HeaderCount > 0 && x.weight.lines > limits.HeaderCount:
		return head.TooManyFields
	case limits.HeaderBytes > 0 && x.weight.bytes > limits.HeaderBytes:
		return head.TooLongFields
	}
	return nil
}

// handleError is ReverseProxy's hook for everything that keeps it from relaying a response.
func handleError(w http.ResponseWriter, _ *http.Request, err error) {
	x := w.(*exchange)
	var reply *head.Reply
	if x.attempt.lost() {
		err = errLost // which is what broke off whatever did
	}
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
		x.err = head.ErrClientGone
		panic(http.ErrAbortHandler) // nobody listens
	case x.deadline.passed():
		x.engine.options.Log.Warn("no answer from the app in the time that its route gives")
		x.reply(head.TimedOut)
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
	case repeater == nil || errors.As(err, &body) || errors.Is(err, errSwitched) || errors.As(err, &timeout) && timeout.Timeout():
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
		return head.Unreached
	case errors.As(err, &body):
		return head.BadBody
	case errors.As(err, &timeout) && timeout.Timeout():
		return head.TimedOut
	}
	return head.BadAnswer
}

// reply answers an exchange in the app's place.
func (x *exchange) reply(reply *head.Reply) {
	if reply.Token != "" {
		x.engine.options.OwnAnswer(reply.Token)
	}
	h := x.Header()
	clear(h)
	toHeader(h, reply.Fields)
	if reply.Body != "" {
		h["Content-Length"] = []string{strconv.Itoa(len(reply.Body))}
	}
	x.engine.finishHeader(h)
	x.WriteHeader(reply.Status)
	if x.request.Method != http.MethodHead {
		_, _ = io.WriteString(x, reply.Body)
	}
}
