package enginetest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// handler is a session engine of test functions. It fails the test when the contract of head.Handler is broken.
type handler struct {
	t        testing.TB
	to       head.To
	request  func(*head.Exchange) *head.Reply
	response func(*head.Exchange, *head.Head) error
	trailer  func(*head.Exchange, *head.Head)

	begun, ended atomic.Int64
	mu           sync.Mutex
	statuses     []int   // of all heads seen by Response
	errs         []error // of all Ends
}

// state is what handler keeps in an exchange.
type state struct{ busy, ended atomic.Bool }

func (h *handler) enter(x *head.Exchange, what string) func() {
	s := x.Session.(*state)
	if s.busy.Swap(true) {
		h.t.Errorf("%s while another method of the exchange runs", what)
	}
	if s.ended.Load() {
		h.t.Errorf("%s after End", what)
	}
	return func() { s.busy.Store(false) }
}

func (h *handler) Request(x *head.Exchange) (head.To, *head.Reply) {
	h.begun.Add(1)
	x.Session = &state{}
	defer h.enter(x, "Request")()
	if h.request != nil {
		return h.to, h.request(x)
	}
	return h.to, nil
}

func (h *handler) Response(x *head.Exchange, answer *head.Head) error {
	defer h.enter(x, "Response")()
	h.mu.Lock()
	h.statuses = append(h.statuses, answer.Status)
	h.mu.Unlock()
	answer.Fields.Keep(notPillion)
	if h.response != nil {
		return h.response(x, answer)
	}
	return nil
}

func (h *handler) Trailer(x *head.Exchange, trailer *head.Head) {
	defer h.enter(x, "Trailer")()
	trailer.Fields.Keep(notPillion)
	if h.trailer != nil {
		h.trailer(x, trailer)
	}
}

func (h *handler) End(x *head.Exchange, err error) {
	h.enter(x, "End")()
	x.Session.(*state).ended.Store(true)
	h.mu.Lock()
	h.errs = append(h.errs, err)
	h.mu.Unlock()
	h.ended.Add(1)
}

// closeOpen breaks an exchange off. Its End waits, as the contract of Close has it.
func (h *handler) closeOpen(x *head.Exchange) {
	h.mu.Lock()
	defer h.mu.Unlock()
	x.Close()
}

// seen are the statuses of all heads that Response saw.
func (h *handler) seen() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int(nil), h.statuses...)
}

// lastErr is what the last End was told.
func (h *handler) lastErr() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.errs) == 0 {
		return nil
	}
	return h.errs[len(h.errs)-1]
}

// normal is a field name as servers with the CGI convention may see it: lower case, everything else a hyphen (H1).
func normal(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
}

func notPillion(name string) bool { return !strings.HasPrefix(normal(name), "pillion-") }
