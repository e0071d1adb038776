package head

import (
	"errors"
	"fmt"
	"strconv"
)

// Tokens of the Proxy-Status error parameter (RFC 9209): they tell Pillion's own answers from the app's.
const (
	RingUnknown     = "ring_unknown"
	RingDown        = "ring_down"
	CommitFailed    = "commit_failed"
	LockTimeout     = "lock_timeout"
	LockLost        = "lock_lost"
	ContractError   = "contract_error"
	SessionTooLarge = "session_too_large"
	AppUnreachable  = "app_unreachable"
	AppTimeout      = "app_timeout"
	Overload        = "overload"
	Draining        = "draining"
	NotHome         = "not_home"
	RequestRefused  = "http_request_error"    // RFC 9209, section 2.3.14
	NoRoute         = "destination_not_found" // RFC 9209, section 2.3.3: no app is served there
)

// NotExecuted is the field by which a sidecar tells a front that its app has seen nothing of a request. The front removes it.
const NotExecuted = "Pillion-Not-Executed"

// ErrNotExecuted: the response head of somebody else says that nothing of the request was executed.
var ErrNotExecuted = errors.New("head: the request was not executed")

// Reply is an answer that Pillion makes itself. It is an error so that Response can return it.
type Reply struct {
	Status int
	Fields Fields
	Body   string
	Token  string // the Proxy-Status error, "" for an answer that is no failure
}

func (r *Reply) Error() string { return fmt.Sprintf("pillion answers %d %s", r.Status, r.Token) }

// Unexecuted says in r that the app has seen nothing of the request.
func (r *Reply) Unexecuted() *Reply {
	r.Fields.Add(NotExecuted, "1")
	return r
}

// Fail builds the answer to a request that Pillion cannot serve: a text body, never cached, Retry-After with every 503 and 429.
// details must hold no id, key or session value.
func Fail(status int, token, details string) *Reply {
	r := &Reply{Status: status, Token: token, Body: details + "\n"}
	r.Fields = Fields{
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Cache-Control", "no-store"},
		{"Proxy-Status", "pillion; error=" + token + "; details=" + strconv.QuoteToASCII(details)},
	}
	switch status {
	case 429:
		r.Fields.Add("Retry-After", "60")
	case 503:
		r.Fields.Add("Retry-After", "1")
	}
	return r
}
