package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

const (
	cookieName = "psid"
	// constant is how many characters of an id stay the same for a session's whole life.
	constant = 32
)

// visitor is one browser with its cookie, and the ledger of what it was promised.
type visitor struct {
	t *trial

	mu      sync.Mutex // parallel requests of one browser share its cookie
	cookie  string
	changed int // how often an answer changed the cookie
	renamed int // .. to another session's
	ledger  map[string]*account
}

// account is what a visitor knows of one attribute, which it only ever counts up.
type account struct {
	acked  int // increments that were acknowledged
	unsure int // increments without an answer: they may have been done
	top    int // the greatest value seen, where requests do not overlap
	undone int // acknowledged increments that a later answer had overwritten
}

func newVisitor(t *trial) *visitor { return &visitor{t: t, ledger: map[string]*account{}} }

// outcome is what the visitor may believe after a request.
type outcome uint8

const (
	acknowledged outcome = iota
	refused              // Pillion says that nothing was done
	unsure
)

// nothingDone are the errors of Pillion's own that come before the app was asked, or that promise that nothing was applied.
var nothingDone = []string{"ring_unknown", "ring_down", "lock_timeout", "lock_lost", "overload", "draining", "app_unreachable"}

// send makes one request and keeps the cookie that its answer sets.
func (v *visitor) send(method, path string) (answer, outcome) {
	v.mu.Lock()
	cookie := v.cookie
	v.mu.Unlock()
	start := time.Now()
	a, err := v.t.front.send(method, path, cookie)
	v.t.note(a, err, time.Since(start))
	if err != nil {
		return a, unsure
	}
	v.keep(a)
	if a.status == http.StatusOK {
		return a, acknowledged
	}
	if slices.Contains(nothingDone, errorOf(a)) {
		return a, refused
	}
	return a, unsure
}

// errorOf is Pillion's own name for what went wrong, "" when it is the app's answer.
func errorOf(a answer) string {
	_, token, _ := strings.Cut(a.header.Get("Proxy-Status"), "error=")
	token, _, _ = strings.Cut(token, ";")
	return token
}

func (v *visitor) keep(a answer) {
	set, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	value, ok := strings.CutPrefix(set, cookieName+"=")
	if !ok {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cookie != "" && value != v.cookie {
		v.changed++
		if !sameSession(value, v.cookie) {
			v.renamed++
		}
	}
	v.cookie = value
}

// increment counts an attribute up; query is more of the query string.
func (v *visitor) increment(attribute, query string) {
	a, outcome := v.send("POST", "/counter?k="+attribute+query)
	v.mu.Lock()
	defer v.mu.Unlock()
	account := v.account(attribute)
	switch outcome {
	case acknowledged:
		account.acked++
		var reply struct{ Value int }
		if err := json.Unmarshal(a.body, &reply); err != nil {
			v.t.problem("an app's answer is %q", a.body)
		}
		account.see(v.t, reply.Value, account.top+1)
	case unsure:
		account.unsure++
	}
}

func (v *visitor) account(attribute string) *account {
	if v.ledger[attribute] == nil {
		v.ledger[attribute] = &account{}
	}
	return v.ledger[attribute]
}

// see compares a value with the least that it may be, where requests do not overlap.
func (c *account) see(t *trial, value, least int) {
	if t.overlap {
		return
	}
	if value < least {
		t.goneBack()
		c.undone += least - value
	}
	c.top = value
}

// look reads the session and compares it with the ledger.
func (v *visitor) look() {
	a, outcome := v.send("GET", "/get")
	if outcome != acknowledged {
		return
	}
	values := v.t.numbers(a.body)
	v.mu.Lock()
	defer v.mu.Unlock()
	for attribute, account := range v.ledger {
		if !v.t.overlap && values[attribute] < account.top {
			v.t.goneBack()
		}
	}
}

// settle reads the session through one sidecar until it gets an answer, and returns what is missing of what was acknowledged.
func (v *visitor) settle(address string) (lost int) {
	var a answer
	var err error
	if !eventually(patience, func() bool {
		a, err = v.t.front.sendTo(address, "GET", "/get", v.cookie)
		return err == nil && a.status == http.StatusOK
	}) {
		v.t.problem("a session is not readable in %v at the end: %d %s %v", patience, a.status, a.header.Get("Proxy-Status"), err)
		return 0
	}
	v.keep(a)
	values := v.t.numbers(a.body)
	for attribute, account := range v.ledger {
		got := values[attribute]
		lost += max(account.undone, account.acked-got)
		if got > account.acked+account.unsure {
			v.t.problem("%s is %d after %d acknowledged and %d unsure increments", attribute, got, account.acked, account.unsure)
		}
	}
	return lost
}

// numbers reads the attributes that are whole numbers.
func (t *trial) numbers(session []byte) map[string]int {
	var attributes map[string]any
	if err := json.Unmarshal(session, &attributes); err != nil {
		t.problem("a session is %q", session)
	}
	numbers := map[string]int{}
	for name, value := range attributes {
		if n, ok := value.(float64); ok {
			numbers[name] = int(n)
		}
	}
	return numbers
}

// expectEnded reads through one sidecar with the cookie of an ended session, or with the one that a late answer set.
func (v *visitor) expectEnded(address, ended, cookie string) {
	var a answer
	var err error
	if !eventually(patience, func() bool {
		a, err = v.t.front.sendTo(address, "GET", "/get", cookie)
		return err == nil && a.status == http.StatusOK
	}) {
		v.t.problem("no answer in %v after a logout: %d %s %v", patience, a.status, a.header.Get("Proxy-Status"), err)
		return
	}
	if v.t.showsOld(a.body, sameSession(ended, cookie)) {
		v.t.rise()
	}
}

// showsOld tells whether an answer shows anything of a session that has ended: what every visitor begins with or, where the cookie is that
// of the ended session itself, anything at all.
func (t *trial) showsOld(session []byte, same bool) bool {
	values := t.numbers(session)
	_, old := values["count"]
	return old || len(values) > 0 && same
}

// ref is the name under which sidecars log the visitor's session.
func (v *visitor) ref() string {
	id, err := ring.ParseID(v.cookie)
	v.t.try(err)
	return ring.Ref("torture", id.Random)
}

func sameSession(a, b string) bool {
	return len(a) >= constant && len(b) >= constant && a[:constant] == b[:constant]
}
