package demo

import (
	"encoding/json"
	"net/http"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
)

const (
	cookieName  = "psid" // on plain HTTP
	space       = "demo"
	sessionPath = "/.well-known/pillion/demo/session"
)

// Front is a front that also answers what the demo's page asks about the session itself.
type Front struct{ Balancer }

// Balancer is a front.
type Balancer interface {
	head.Handler
	head.Repeater
	head.Encoder
}

// Request answers the page's question, and balances the rest.
func (f Front) Request(x *head.Exchange) (head.To, *head.Reply) {
	if x.Request.Target == sessionPath {
		return head.To{}, describe(x.Request.Fields)
	}
	return f.Balancer.Request(x)
}

// describe tells what can be read off the id: the cookie itself is not for scripts, and the app never sees it.
func describe(fields head.Fields) *head.Reply {
	answer := map[string]any{}
	if id, ok := idOf(fields); ok {
		answer = map[string]any{"node": id.Node, "route": id.Route, "epoch": id.Epoch, "ref": ring.Ref(space, id.Random)}
	}
	text, _ := json.Marshal(answer) // of strings and a number
	return &head.Reply{Status: http.StatusOK, Body: string(text), Fields: head.Fields{
		{Name: "Content-Type", Value: "application/json"}, {Name: "Cache-Control", Value: "no-store"},
	}}
}

func idOf(fields head.Fields) (ring.ID, bool) {
	for _, cookie := range (&http.Request{Header: http.Header{"Cookie": fields.Values("Cookie")}}).CookiesNamed(cookieName) {
		if id, err := ring.ParseID(cookie.Value); err == nil {
			return id, true
		}
	}
	return ring.ID{}, false
}
