package reverseproxy

import (
	"bufio"
	"net"
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Header, WriteHeader, Write, FlushError, Hijack and Unwrap make the exchange the http.ResponseWriter that ReverseProxy
// writes to. The final head has passed the Handler in modifyResponse; a 1xx passes it here, because nothing else sees it.

func (x *exchange) Header() http.Header { return x.client.Header() }

func (x *exchange) Unwrap() http.ResponseWriter { return x.client }

func (x *exchange) WriteHeader(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if status < 200 && status != http.StatusSwitchingProtocols {
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
	removeHopByHop(fields)
	h := head.Head{Status: status, Fields: fromHeader(fields)}
	clear(fields)
	if err := x.engine.Handler.Response(&x.Exchange, &h); err != nil {
		x.failed = err
		return
	}
	if !x.request.ProtoAtLeast(1, 1) || status == http.StatusContinue && x.continued {
		return // RFC 9110, section 15.2; and one 100 is enough
	}
	x.continued = x.continued || status == http.StatusContinue
	toHeader(fields, h.Fields)
	x.client.WriteHeader(h.Status)
}

// sendContinue asks the client for a body that it holds back, unless the app's own 100 did or the final head went out.
// net/http would do it at the first read too, but without regard for a 1xx that is being written at that moment.
func (x *exchange) sendContinue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.continued && x.status == 0 {
		x.continued = true
		x.client.WriteHeader(http.StatusContinue)
	}
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

func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(x.client).Hijack()
	if err == nil {
		x.tunnel = true
		x.status = http.StatusSwitchingProtocols
	}
	return conn, rw, err
}

// began tells whether the final head has left, so that no other answer can be given.
func (x *exchange) began() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.status != 0
}
