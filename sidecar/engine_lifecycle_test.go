package sidecar_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// L1: an id without a record, however well made, never becomes a session's id.
func TestL1UnknownIDIsNotAdopted(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		for _, s := range []script{patch(`{"a":1}`), says("Pillion-Patch", `{"a":1}`, "Pillion-Op", "renew"), op("touch")} {
			planted := p.forge(t, secret)
			v := p.visitor().take(planted)
			v.must(`{}`)
			v.get(s)
			if v.id()[:26] == planted[:26] {
				t.Fatal("the planted id became a session")
			}
			if got := p.visitor().take(planted).session(); got != `{}` {
				t.Fatalf("the planted id reads %s", got)
			}
		}
	})
}

// forge makes an id that nobody was given, as well as whoever has the key can.
func (p *process) forge(t *testing.T, key []byte) string {
	t.Helper()
	keys, err := ring.NewKeys(space, key)
	if err != nil {
		t.Fatal(err)
	}
	id, err := ring.NewID(rand.Reader, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	id.Node = "n1"
	if p.setup.Sticky {
		id.Route = p.setup.Route
	}
	return keys.Sign(id).String()
}

// L2: a renewal gives a new id with the same data; the old one ends with the grace.
func TestL2Renew(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"cart":{"n":2},"big":9007199254740993}`))
		old := v.parsed()
		wait(5 * time.Second)
		a := v.get(says("Pillion-Patch", `{"user":"ada"}`, "Pillion-Subject", `"ada"`, "Pillion-Op", "renew"))
		if a.StatusCode != 200 || a.setCookie() == "" {
			t.Fatalf("renewal: %d %s", a.StatusCode, a.token())
		}
		if v.parsed().Random == old.Random || v.parsed().Issued == old.Issued {
			t.Error("the id has an old part")
		}
		v.must(`{"big":9007199254740993,"cart":{"n":2},"user":"ada"}`)
		wait(p.setup.RenewGrace + time.Second)
		if got := p.visitor().take(old.String()).session(); got != `{}` {
			t.Errorf("after the grace the old id reads %s", got)
		}
		v.must(`{"big":9007199254740993,"cart":{"n":2},"user":"ada"}`)
	})
}

// L3: who arrives with the old id within the grace reads what was there before the login, writes nothing, and never learns the new id.
func TestL3GraceIsFrozen(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		thief := p.visitor().take(v.id())
		v.get(says("Pillion-Patch", `{"user":"ada"}`, "Pillion-Op", "renew"))
		v.get(patch(`{"secret":2}`))
		for _, row := range []struct {
			name   string
			do     script
			status int
		}{
			{"read", nil, 200},
			{"patch", patch(`{"user":"eve"}`), 503},
			{"replace", says("Pillion-Replace", `{"user":"eve"}`), 503},
			{"renew", op("renew"), 503},
			{"clear", op("clear"), 503},
			{"touch", op("touch"), 503},
		} {
			a := thief.get(row.do)
			if a.app.session() != `{"a":1}` || a.StatusCode != row.status || a.setCookie() != "" {
				t.Errorf("%s: reads %s, gets %d and cookie %q", row.name, a.app.session(), a.StatusCode, a.setCookie())
			}
			if row.status == 503 && a.token() != "commit_failed" {
				t.Errorf("%s: %s", row.name, a.token())
			}
		}
		v.must(`{"a":1,"secret":2,"user":"ada"}`)
	})
}

// L3: a request that began before the renewal still writes: into the new session, without learning its id.
func TestL3RequestFromBeforeTheRenewal(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		late := p.visitor().take(v.id())
		do, arrived, goOn := held(patch(`{"late":true}`))
		result := make(chan *answer)
		go func() { result <- late.get(do) }()
		<-arrived
		v.get(says("Pillion-Patch", `{"user":"ada"}`, "Pillion-Op", "renew"))
		renewed := v.id()
		close(goOn)
		if a := <-result; a.StatusCode != 200 || a.setCookie() != "" {
			t.Errorf("the late request: %d %s, cookie %q", a.StatusCode, a.token(), a.setCookie())
		}
		if a := v.get(nil); a.app.session() != `{"a":1,"late":true,"user":"ada"}` || a.setCookie() != "" {
			t.Errorf("after it: %s, cookie %q", a.app.session(), a.setCookie())
		}
		if v.id() != renewed {
			t.Error("the id changed once more")
		}
		if p.setup.Sticky && p.counted("session_events_total", "takeover") != 0 {
			t.Error("the home took its own session over")
		}
	})
}

// L4: idle and absolute time are judged by the record, on every sidecar alike.
func TestL4Timeouts(t *testing.T) {
	for _, row := range []struct {
		name  string
		pause time.Duration // between visits
		times int
		fresh time.Duration // idle time the app asks for
		alive bool
	}{
		{"visited within the idle time", 29 * time.Minute, 3, 0, true},
		{"idle", 32 * time.Minute, 1, 0, false},
		{"idle time of its own", 16 * time.Minute, 1, 900 * time.Second, true},
		{"beyond its own", 17 * time.Minute, 1, 900 * time.Second, false},
		{"lifetime", 20 * time.Minute, 5, 0, true},
		{"beyond the lifetime", 20 * time.Minute, 7, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				do := patch(`{"a":1}`)
				if row.fresh > 0 {
					do = says("Pillion-Patch", `{"a":1}`, "Pillion-Idle", fmt.Sprint(row.fresh.Seconds()))
				}
				v.get(do)
				for range row.times {
					v.get(nil)
					wait(row.pause)
				}
				elsewhere := f.sidecar("b2", p.alike).visitor().take(v.id())
				for name, got := range map[string]string{"here": v.session(), "on another sidecar": elsewhere.session()} {
					if alive := got == `{"a":1}`; alive != row.alive {
						t.Errorf("%s it is %s", name, got)
					}
				}
			}, func(s *setup) { s.Lifetime = 2 * time.Hour })
		})
	}
}

// L5: destroy wins over whatever is under way, also where a node lost its memory in between.
func TestL5DestroyWins(t *testing.T) {
	for _, row := range []struct {
		name    string
		late    script
		between func(f *fleet)
	}{
		{"patch", patch(`{"b":2}`), nil},
		{"renew", op("renew"), nil},
		{"replace", says("Pillion-Replace", `{"b":2}`), nil},
		{"touch", op("touch"), nil},
		{"read", says(), nil},
		{"patch after one node restarted", patch(`{"b":2}`), func(f *fleet) { f.nodes[0].restart() }},
		{"patch after both restarted", patch(`{"b":2}`), func(f *fleet) { f.nodes[0].restart(); f.nodes[1].restart() }},
		{"renew after both restarted", op("renew"), func(f *fleet) { f.nodes[0].restart(); f.nodes[1].restart() }},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				id := v.id()
				late := p.visitor().take(id)
				do, arrived, goOn := held(row.late)
				ended := make(chan *answer)
				go func() { ended <- late.get(do) }()
				<-arrived
				if a := v.get(op("destroy")); a.StatusCode != 200 || v.id() != "" {
					t.Fatalf("destroy: %d %s", a.StatusCode, a.token())
				}
				if row.between != nil {
					row.between(f)
				}
				close(goOn)
				<-ended
				wait(3 * time.Minute) // and touches
				for _, shown := range []string{id, late.id()} {
					for _, at := range []*process{p, f.sidecar("b2", p.alike)} {
						if got := at.visitor().take(shown).session(); got != `{}` {
							t.Errorf("the session is back: %s", got)
						}
					}
				}
			})
		})
	}
}

// L5: a logout follows the chain of renewals, both ways, within the grace.
func TestL5DestroyFollowsRenewals(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		for _, who := range []string{"old", "new"} {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			old := p.visitor().take(v.id())
			v.get(op("renew"))
			fresh := p.visitor().take(v.id())
			map[string]*visitor{"old": old, "new": v}[who].get(op("destroy"))
			if a, b := p.visitor().take(fresh.id()).session(), old.session(); a != `{}` || b != `{}` {
				t.Errorf("destroyed by the %s id: the new one reads %s, the old one %s", who, a, b)
			}
		}
	})
}

// L5: a logout with the new id and a late write with the old one each hold their own session and want the other's: neither waits for ever.
func TestL5LogoutMeetsLateWrite(t *testing.T) {
	for offset := range 60 {
		bothModes(t, func(t *testing.T, f *fleet, p *process) {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			late := p.visitor().take(v.id())
			do, arrived, goOn := held(patch(`{"late":true}`))
			ended := make(chan *answer)
			go func() { ended <- late.get(do) }()
			<-arrived
			v.get(op("renew"))
			fresh := p.visitor().take(v.id())
			for _, n := range f.nodes {
				n.slow(10 * time.Millisecond)
			}
			time.AfterFunc(time.Duration(offset)*time.Millisecond, func() { close(goOn) })
			if a := v.get(op("destroy")); a.StatusCode != 200 {
				t.Errorf("destroy: %d %s", a.StatusCode, a.token())
			}
			<-ended
			fresh.must(`{}`)
		})
	}
}

// L8: who stores nothing has no session: no key, no cookie, and the answer stays cacheable.
func TestL8NothingForNothing(t *testing.T) {

	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		f.operations()
		for range 1000 {
			a := p.visitor().get(nil)
			if a.setCookie() != "" || a.Header.Get("Cache-Control") != "" || a.Header.Get("Vary") != "" {
				t.Fatalf("a visitor who stores nothing gets %v", a.Header)
			}
		}
		p.visitor().ask("OPTIONS", "/", patch(`{"a":1}`))
		p.visitor().ask("GET", "/logo.png", patch(`{"a":1}`))
		p.visitor().ask("GET", "/.well-known/pillion/ready", nil)
		p.visitor().get(patch(`{}`))
		p.visitor().get(op("renew"))
		p.visitor().get(op("destroy"))
		p.visitor().get(patch(`{"a":null}`))
		if keys, n := f.keys(), f.operations(); len(keys) != 0 || n != 0 {
			t.Errorf("%d keys, %d operations", len(keys), n)
		}
	}, ignoring(`\.png$`))
}

// L9: rolling expiry writes at most once in a touch interval, and never repeats the cookie.
func TestL9TouchesAreRare(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		f.operations()
		for range 360 { // an hour
			if line := v.get(nil).setCookie(); line != "" {
				t.Fatalf("a read answers %s", line)
			}
			wait(10 * time.Second)
		}
		wait(time.Second)
		writes := 0
		for _, n := range f.nodes {
			for _, line := range n.commands() {
				if !strings.HasPrefix(line, "get") {
					writes++
				}
			}
		}
		if writes > 2*60 || writes < 2*40 {
			t.Errorf("%d writes for an hour of reading; a touch of two copies a minute is 120", writes)
		}
		v.must(`{"a":1}`)
	})
}

// L10, as far as it goes: what a stream may do is bounded by its head. The session that a WebSocket got stays what it was, and a handle
// dies 10 s after its connection.
func TestL10StreamSeesItsOwnSessionOnly(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		var handle string
		arrived, goOn := make(chan struct{}), make(chan struct{})
		streaming := func(w http.ResponseWriter, r *http.Request) {
			handle = r.Header.Get("Pillion-Handle")
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			close(arrived)
			<-goOn
		}
		ended := make(chan error)
		go func() {
			_, err := p.visitor().take(v.id()).try(context.Background(), "GET", "/events", streaming)
			ended <- err
		}()
		<-arrived
		v.get(op("destroy"))
		wait(time.Minute)
		object, etag, ok := p.ByHandle(handle)
		if !ok || !json.Valid(object) || etag == "" {
			t.Errorf("the open stream's handle reads %q %v", object, ok)
		}
		close(goOn)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		wait(11 * time.Second)
		if _, _, ok := p.ByHandle(handle); ok {
			t.Error("the handle outlives its stream")
		}
	}, func(s *setup) { s.Handles = true })
}
