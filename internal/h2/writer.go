package h2

import (
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Header, WriteHeader, Write, FlushError and Unwrap make the exchange the http.ResponseWriter that ReverseProxy
// writes to. The final head has passed the Handler in modifyResponse; a 1xx passes it here, because nothing else sees it.

func (x *exchange) Header() http.Header { return x.client.Header() }

func (x *exchange) Unwrap() http.ResponseWriter { return x.client }

func (x *exchange) WriteHeader(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if status < 200 {
		x.writeInterim(status)
		return
	}
	x.status = status
	x.client.WriteHeader(status)
}

// writeInterim relays a 1xx of the app. It runs in a goroutine of Transport, where a panic would end the process.
func (x *exchange) writeInterim(status int) {
	defer func() {
		if p := recover(); p != nil {
			x.fail(p)
		}
	}()
	if x.failed != nil || x.status != 0 {
		return
	}
	fields := x.client.Header()
	h := head.Head{Status: status, Fields: fromHeader(fields)}
	if x.interim += weigh(h.Fields).bytes + len("HTTP/1.1 100\r\n\r\n"); x.interim > head.MaxResponseHeader {
		x.failed = head.BadAnswer
		x.cancel(errFlood) // Transport would read on for as long as they come
		return
	}
	h.Fields.EndHop()
	clear(fields)
	if err := x.engine.options.Handler.Response(&x.Exchange, &h); err != nil {
		x.failed = err
		return
	}
	if status == http.StatusContinue {
		return // net/http has written its own
	}
	toHeader(fields, h.Fields)
	x.client.WriteHeader(h.Status)
}

func (x *exchange) Write(p []byte) (int, error) {
	n, err := x.client.Write(p)
	x.bytes += int64(n)
	x.note(err)
	return n, err
}

// FlushError is called under ReverseProxy's lock or after its copying, so never beside Write.
func (x *exchange) FlushError() error {
	err := http.NewResponseController(x.client).Flush()
	x.note(err)
	return err
}

// note remembers the first write that did not reach the client.
func (x *exchange) note(err error) {
	if err != nil && x.err == nil {
		x.err = err
	}
}

// began tells whether the final head has left, so that no other answer can be given.
func (x *exchange) began() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.status != 0
}
