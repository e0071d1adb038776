package demo

import (
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// The page learns what the cookie says, and never the cookie; the sidecars are not asked.
func TestFrontDescribesTheSession(t *testing.T) {
	keys, err := ring.NewKeys(space)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ring.NewID(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id.Node, id.Route, id.Epoch = "n2", "a2", 3
	id = keys.Sign(id)
	ask := func(cookie string) string {
		x := &head.Exchange{Request: head.Head{Method: "GET", Target: sessionPath, Fields: head.Fields{{Name: "Cookie", Value: cookie}}}}
		_, reply := Front{}.Request(x)
		if reply == nil || reply.Status != 200 {
			t.Fatalf("%q: %+v", cookie, reply)
		}
		return reply.Body
	}
	text := ask("theme=dark; psid=" + id.String())
	var got struct {
		Node, Route, Ref string
		Epoch            int
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Node != "n2" || got.Route != "a2" || got.Epoch != 3 || got.Ref != ring.Ref(space, id.Random) {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
	if strings.Contains(text, id.String()[:48]) {
		t.Errorf("%s has the token", text)
	}
	if text := ask("psid=nonsense"); text != "{}" {
		t.Errorf("without a session: %q", text)
	}
}
