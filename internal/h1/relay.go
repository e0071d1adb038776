package h1

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// try sends the request to an app and its answer to the client. Where that failed and there may be another way it returns how to ask for
// it; a reply is to be sent in the app's place.
func (x *exchange) try(to head.To) (again another, reply *head.Reply) {
	x.bound(to.Timeout)
	err := x.contact(app{to.Network, to.Address})
	if err == nil {
		err = x.respond()
	}
	if err == nil {
		return nil, nil
	}
	again, reply = x.judge(err)
	x.releaseUpstream(false)
	return again, reply
}

// judge settles what becomes of an exchange after err.
func (x *exchange) judge(err error) (another, *head.Reply) {
	var own *head.Reply
	cause := x.isAborted()
	switch {
	case x.status != 0: // something of an answer is out
		x.end(errors.Join(cause, err))
		return nil, nil
	case errors.As(err, &own):
		return nil, own
	case cause != nil && !errors.Is(cause, errTimedOut):
		x.end(cause)
		return nil, nil
	case cause != nil:
		err = cause
	case x.upload != nil && x.up != nil:
		if x.upload.join(x, x.up); x.upload.err != nil {
			err = x.upload.err // it may have interrupted what failed
		}
	}
	if again := x.another(err); again != nil {
		return again, nil
	}
	reply := x.replyTo(err)
	x.c.engine.options.Log.Warn("no answer from the app", "status", reply.Status, "error", err)
	return nil, reply
}

// another asks a Handler that takes part in it where the request goes now. With a body, only when nothing of that is gone.
func (x *exchange) another(err error) another {
	var dial *unreachableError
	e := x.c.engine
	switch {
	case e.rerouter == nil:
	case errors.Is(err, head.ErrNotExecuted), errors.As(err, &dial) && x.upload == nil:
		return e.rerouter.Unreached
	case e.repeater == nil || errors.Is(err, errBadBody) || errors.Is(err, errSlowBody) || errors.Is(err, errUpgrade) || errors.Is(err, errTimedOut):
	default:
		e.options.Log.Warn("connection lost", "error", err)
		whole := x.isWhole()
		return func(hx *head.Exchange) (head.To, *head.Reply) { return e.repeater.Lost(hx, whole) }
	}
	return nil
}

// contact sends the request and waits for the final head of an answer. A connection from the pool that turns out to be dead costs no
// request of which nothing was sent or that may be sent twice; anything else may have been executed (P7).
func (x *exchange) contact(to app) error {
	for pooled := true; ; pooled = false {
		up, err := x.connect(to, pooled)
		if err != nil {
			return err
		}
		if err := x.holdUpstream(up); err != nil {
			return err
		}
		if x.c.hasLeft() {
			return x.leave()
		}
		sent, err := x.roundTrip(up)
		if err == nil {
			return nil
		}
		stale := up.reused && x.from.len() == 0 && !x.said.started && (sent == 0 || x.repeatable())
		if !stale || errors.Is(err, errTimedOut) || x.upload != nil || x.isAborted() != nil || x.c.found(lost) {
			return err
		}
		x.releaseUpstream(false)
	}
}

// roundTrip returns how much of the request the connection took.
func (x *exchange) roundTrip(up *upstream) (sent int, err error) {
	w := write(x.sent[:0])
	w.request(x)
	if x.sent, err = w.end(); err != nil {
		x.c.engine.options.Log.Error("request refused", "error", err)
		return 0, head.InternalError
	}
	x.sent = append(x.sent, x.whole...)
	x.said.reset(x.said.Fields)
	x.c.to(asking)
	sent, err = x.send(up)
	if err != nil && (sent == 0 || sent == len(x.sent)) {
		x.c.look()
		return sent, x.why(err)
	}
	// Otherwise what the app said before it stopped listening is its answer.
	x.continued, x.waiting = false, false
	if !x.body.ended && err == nil {
		if x.waiting = x.asked.expect != "" && x.asked.minor > 0; !x.waiting {
			x.startUpload(up)
		}
	}
	return sent, x.awaitAnswer(up)
}

// awaitAnswer reads heads until the final one, or 101.
func (x *exchange) awaitAnswer(up *upstream) error {
	if x.waiting {
		_ = up.nc.SetReadDeadline(time.Now().Add(head.ContinueAfter))
		defer func() { _ = up.nc.SetReadDeadline(zeroTime) }()
	}
	for flood := 0; ; {
		err := x.readAnswer(up)
		if x.waiting && !x.said.started && isTimeout(err) && !x.c.found(expired) && x.isAborted() == nil {
			if err = x.goOn(up, &head.Head{Status: http.StatusContinue}); err == nil {
				continue
			}
		}
		if err != nil || x.said.Status >= 200 || x.said.Status == http.StatusSwitchingProtocols {
			return err
		}
		if flood += x.said.bytes + len("HTTP/1.1 100\r\n\r\n"); flood > head.MaxResponseHeader {
			return errBadAnswer
		}
		up.reused = false // it is alive: what it gets from here on may be executed
		if err = x.interim(up); err != nil {
			return err
		}
		x.said.reset(x.said.Fields)
	}
}

// interim relays a 1xx. A second 100 is only shown to the Handler.
func (x *exchange) interim(up *upstream) error {
	x.c.look()
	x.answered()
	h := head.Head{Status: x.said.Status, Fields: x.said.Fields}
	if x.said.ends {
		h.Fields.EndHop()
	}
	err := x.c.engine.options.Handler.Response(&x.Exchange, &h)
	x.said.Fields = h.Fields
	switch {
	case err != nil:
		return x.failure(err)
	case x.said.Status == http.StatusContinue && x.continued:
		return nil
	case x.said.Status == http.StatusContinue && x.waiting:
		return x.goOn(up, &h)
	}
	x.continued = x.continued || x.said.Status == http.StatusContinue
	return x.sendInterim(&h)
}

// goOn asks the client for the body that it holds back, and passes it on. The app has decided so, or has said nothing for as long as one that
// does not know Expect may.
func (x *exchange) goOn(up *upstream, h *head.Head) error {
	x.waiting, x.continued = false, true
	_ = up.nc.SetReadDeadline(zeroTime)
	err := x.sendInterim(h)
	if err == nil {
		x.startUpload(up)
	}
	return err
}

// sendInterim writes a 1xx; HTTP/1.0 knows none (RFC 9110, section 15.2).
func (x *exchange) sendInterim(h *head.Head) (err error) {
	if x.asked.minor == 0 {
		return nil
	}
	w := write(x.out[:0])
	w.status(h.Status, 1)
	w.fields(h.Fields)
	if x.out, err = w.end(); err != nil {
		return x.failure(err)
	}
	err = x.flush()
	x.c.to(asking)
	return err
}

// readAnswer reads one head of the app.
func (x *exchange) readAnswer(up *upstream) error {
	for {
		done, refused := x.said.parse(&x.from)
		if refused != nil {
			return fmt.Errorf("%w: %s", errBadAnswer, strings.TrimSpace(refused.Body))
		}
		if done {
			return nil
		}
		if err := x.from.fill(up.nc); err != nil {
			x.c.look()
			return x.why(err)
		}
	}
}

// moreOfAnswer reads more of the response's body.
func (x *exchange) moreOfAnswer() error {
	x.c.to(taking)
	err := x.from.fillBody(x.up.nc)
	if err != nil && !errors.Is(err, io.EOF) {
		x.c.look()
		err = x.why(err)
	}
	return err
}

// why tells what an error on the way to the app comes from.
func (x *exchange) why(err error) error {
	if cause := x.isAborted(); cause != nil {
		return cause
	}
	switch {
	case x.c.found(expired):
		return errTimedOut
	case x.c.found(lost):
		return errLost
	}
	return err
}

// answered takes back what lose has done to an app that answers all the same.
func (x *exchange) answered() {
	if !x.c.found(lost) || x.c.found(expired) {
		return
	}
	x.c.marks &^= lost
	_ = x.up.nc.SetDeadline(zeroTime)
	if x.isAborted() != nil { // just now
		x.up.interrupt()
	}
}

// leave ends the exchange of a client that has left.
func (x *exchange) leave() error {
	x.abort(head.ErrClientGone)
	return head.ErrClientGone
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// failure is what Handler.Response returned instead of editing a head, as the *head.Reply to send.
func (x *exchange) failure(err error) error {
	var reply *head.Reply
	if errors.As(err, &reply) {
		return reply
	}
	x.c.engine.options.Log.Error("response refused", "error", err)
	return head.InternalError
}
