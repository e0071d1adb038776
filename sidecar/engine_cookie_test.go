package sidecar_test

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/ring"
)

// C1: an id has 128 random bits beside its hints; it has one length and never repeats.
func TestC1IDsAreRandom(t *testing.T) {
	seen := map[[16]byte]bool{}
	var ones [128]int
	const n = 100_000
	for range n {
		id, err := ring.NewID(rand.Reader, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if len(id.String()) != 48 || seen[id.Random] {
			t.Fatalf("id %s: of another length, or a repetition", id)
		}
		seen[id.Random] = true
		for bit := range ones {
			ones[bit] += int(id.Random[bit/8] >> (bit % 8) & 1)
		}
	}
	for bit, count := range ones {
		if count < n*48/100 || count > n*52/100 {
			t.Errorf("bit %d is set in %d of %d ids", bit, count, n)
		}
	}
	inMode(t, true, func(t *testing.T, _ *fleet, p *process) {
		born := map[[16]byte]bool{}
		for range 200 {
			v := p.visitor()
			v.get(patch(`{"a":1}`))
			born[v.parsed().Random] = true
		}
		if len(born) != 200 {
			t.Errorf("200 visitors share %d ids", len(born))
		}
	})
}

// C2, C3, M1: an id with one bit or one hint changed is refused before any node is asked, and makes no session.
func TestC2C3ForgedIDsReachNoNode(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		owner := p.visitor()
		owner.get(patch(`{"a":1}`))
		wait(time.Second)
		good := owner.id()
		forged := []string{
			strings.Replace(good, "-n", "-m", 1), good + "0", strings.ToUpper(good), good[:47], " ",
			strings.Replace(good, "-", ".", 1), good[:48], good[:48] + "-n9.a1", good[:48] + "-n1.b2",
		}
		for bit := range 240 {
			forged = append(forged, flipped(t, good, bit))
		}
		f.operations()
		for _, id := range forged {
			a := p.visitor().get(nil, "Cookie", "__Host-psid="+id)
			if a.StatusCode != 200 || a.app.session() != "{}" || a.app.meta("new") != "?1" || a.setCookie() != "" {
				t.Fatalf("%q: %d, the app got %v", id, a.StatusCode, a.app.Header)
			}
		}
		if n := f.operations(); n != 0 {
			t.Errorf("forged ids made %d operations", n)
		}
		if n := p.counted("ids_rejected_total", "mac"); n < 240 {
			t.Errorf("%v of 240 flipped bits were counted", n)
		}
		owner.must(`{"a":1}`)
	})
}

// flipped changes one bit of an id's token.
func flipped(t *testing.T, id string, bit int) string {
	t.Helper()
	text := base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	raw, err := text.DecodeString(id[:48])
	if err != nil {
		t.Fatal(err)
	}
	raw[bit/8] ^= 1 << (bit % 8)
	return text.EncodeToString(raw) + id[48:]
}

// C4: the cookie's attributes, by default and over plain HTTP.
func TestC4SetCookie(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*setup)
		want   string
	}{
		{"default", func(*setup) {}, "__Host-psid=ID; Path=/; Secure; HttpOnly; SameSite=Lax"},
		{"partitioned", func(s *setup) { s.Cookie.Partitioned, s.Cookie.SameSite = true, "None" }, "__Host-psid=ID; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"},
		{"plain HTTP", func(s *setup) { s.Cookie.Name, s.Cookie.Insecure = "psid", true }, "psid=ID; Path=/; HttpOnly; SameSite=Lax"},
		{"kept", func(s *setup) { s.Cookie.MaxAge = time.Hour }, "__Host-psid=ID; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=3600"},
	} {
		t.Run(row.name, func(t *testing.T) {
			inMode(t, true, func(t *testing.T, _ *fleet, p *process) {
				v := p.visitor()
				got := v.get(patch(`{"a":1}`)).setCookie()
				if want := strings.Replace(row.want, "ID", v.id(), 1); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}, row.change)
		})
	}
}

// C5: after a logout no browser has the cookie any more, whatever its prefix: the deletion repeats the attributes.
func TestC5DeletionIsObeyed(t *testing.T) {
	for _, name := range []string{"__Host-psid", "__Secure-psid", "psid"} {
		for _, partitioned := range []bool{false, true} {
			inMode(t, false, func(t *testing.T, _ *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				if v.id() == "" {
					t.Fatalf("%s was not kept", name)
				}
				a := v.get(op("destroy"))
				if v.id() != "" {
					t.Errorf("%s is still there after %s", name, a.setCookie())
				}
				if strings.Contains(a.setCookie(), "Partitioned") != partitioned {
					t.Errorf("a deletion from another jar: %s", a.setCookie())
				}
			}, func(s *setup) { s.Cookie.Name, s.Cookie.Partitioned = name, partitioned })
		}
	}
}

// C6, C8, C4: what browsers would refuse is refused as a setting.
func TestC6C8CookieSettings(t *testing.T) {
	base := []string{"--app=shop", "--upstream=http://127.0.0.1:3000", "--ring-nodes=n1=127.0.0.1:11211"}
	for _, row := range []struct {
		flags []string
		bad   string
	}{
		{nil, ""},
		{[]string{"--session-same-site=None"}, ""},
		{[]string{"--session-same-site=None", "--session-insecure-cookie", "--session-cookie=psid"}, "same_site"},
		{[]string{"--session-partitioned", "--session-insecure-cookie", "--session-cookie=psid"}, "partitioned"},
		{[]string{"--session-insecure-cookie", "--session-cookie=__Host-psid"}, "cookie"},
		{[]string{"--session-insecure-cookie", "--session-cookie=__Secure-psid"}, "cookie"},
		{[]string{"--session-max-age=9600h"}, ""},
		{[]string{"--session-max-age=9601h"}, "max_age"},
	} {
		_, err := config.Load(append(base, row.flags...), nil)
		if (err != nil) != (row.bad != "") || err != nil && !strings.Contains(err.Error(), row.bad) {
			t.Errorf("%v: %v, want a mistake about %q", row.flags, err, row.bad)
		}
	}
}

// C7: the whole Set-Cookie line is far below 4096 bytes, with the longest route and every attribute.
func TestC7CookieIsSmall(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, _ *process) {
		v := f.sidecar(strings.Repeat("r", 32), func(s *setup) {
			s.Sticky = true
			s.Cookie.Name, s.Cookie.Partitioned, s.Cookie.MaxAge = "__Host-"+strings.Repeat("s", 57), true, 400*24*time.Hour
		}).visitor()
		if line := v.get(patch(`{"a":1}`)).setCookie(); len(line) == 0 || len(line) > 512 {
			t.Errorf("%d bytes: %s", len(line), line)
		}
	})
}

// C9: of several cookies with our name the first that verifies counts; a jar stuffed with them counts for nothing.
func TestC9SeveralCookies(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		tossed := func(n int) string {
			return strings.Repeat("__Host-psid=tossed; ", n) + "__Host-psid=" + v.id()
		}
		for _, row := range []struct {
			cookies, want string
		}{
			{tossed(0), `{"a":1}`}, {tossed(3), `{"a":1}`}, {tossed(4), `{}`}, {tossed(100), `{}`},
			{"__Host-psid=" + v.id() + "; __Host-psid=tossed", `{"a":1}`},
		} {
			if got := p.visitor().get(nil, "Cookie", row.cookies).app.session(); got != row.want {
				t.Errorf("%d bytes of cookies give %s, want %s", len(row.cookies), got, row.want)
			}
		}
		if n := p.counted("ids_rejected_total", "too_many"); n != 2 {
			t.Errorf("too_many was counted %v times", n)
		}
	})
}

// C10, C11: only the exact name is read, and whatever an app could take for it never arrives there.
func TestC10C11CookieNames(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		id := v.id()
		for _, row := range []struct{ cookie, app string }{
			{"%5F%5FHost-psid=" + id + "; a=1", "a=1"},
			{"__Host%2Dpsid=" + id, ""},
			{"__host-psid=" + id + "; a=1", "a=1"},
			{`"__Host-psid"=` + id + "; a=1", "a=1"},
			{"=__Host-psid=" + id + "; a=1", "a=1"},
			{"$Version=1; __Host-psid2=x", "$Version=1; __Host-psid2=x"},
		} {
			a := p.visitor().get(nil, "Cookie", row.cookie)
			if a.app.session() != "{}" {
				t.Errorf("%s: read as ours", row.cookie)
			}
			if got := a.app.Header.Get("Cookie"); got != row.app {
				t.Errorf("%s: the app gets %q, want %q", row.cookie, got, row.app)
			}
		}
		if a := v.get(nil, "Cookie", "b=2"); a.app.session() != `{"a":1}` || a.app.Header.Get("Cookie") != "b=2" {
			t.Errorf("beside another cookie: %s, the app gets %q", a.app.session(), a.app.Header.Get("Cookie"))
		}
		if a := v.get(nil); a.app.Header["Cookie"] != nil {
			t.Errorf("the app gets %q", a.app.Header["Cookie"])
		}
	})
}

// C11, D2: no id and no value of a session is in a log, a metric, an error page, or the head that the app gets.
func TestC11D2NothingLeaks(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		const canary = "canary-1f0e"
		v := p.visitor()
		ids := []string{}
		pages := ""
		note := func(a *answer) {
			if v.id() != "" {
				ids = append(ids, v.id())
			}
			if a.token() != "" {
				pages += fmt.Sprint(a.Header) + a.body
			}
		}
		note(v.get(patch(`{"secret":"` + canary + `"}`)))
		note(v.get(says("Pillion-Patch", `{"secret":"`+canary+`2"}`, "Pillion-Op", "renew", "Pillion-Subject", `"`+canary+`"`)))
		note(v.get(says("Pillion-Patch", `{"secret":"`+canary)))
		note(v.get(says("Pillion-Patch", `{"`+canary+`":1,"`+canary+`":2}`)))
		note(v.get(says("Pillion-Op", canary)))
		note(v.get(says("Pillion-Subject", canary)))
		note(v.get(says("Pillion-Idle", canary)))
		note(v.get(says("Pillion-Patch", `{"a":"`+strings.Repeat("x", 70<<10)+canary+`"}`)))
		f.nodes[0].kill()
		note(v.get(patch(`{"b":1}`)))
		f.nodes[1].kill()
		note(v.get(patch(`{"secret":"` + canary + `3"}`)))
		note(v.get(op("renew")))
		note(v.get(op("destroy")))
		for _, key := range []string{"X-Forwarded-Host", "Referer"} {
			note(v.get(nil, key, canary))
		}
		families, err := p.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		where := map[string]string{"log": p.log.String(), "metrics": fmt.Sprint(families), "page": pages}
		for place, text := range where {
			for _, id := range append(ids, canary) {
				// The first 26 characters are the random part: enough to find the session's copies.
				if strings.Contains(text, id[:min(len(id), 26)]) {
					t.Errorf("the %s shows %s", place, id)
				}
			}
		}
		if !strings.Contains(where["log"], "ref=") || pages == "" {
			t.Error("nothing was logged, or no error page was seen: the test looks at nothing")
		}
	})
}

// C11: the app cannot set our cookie, whatever the path.
func TestC11AppCannotMintOurCookie(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		a := p.visitor().get(says("Set-Cookie", "__Host-psid=chosen; Path=/; Secure", "Set-Cookie", "=__Host-psid=chosen; Path=/", "Set-Cookie", "theme=dark"))
		if got := a.Header.Values("Set-Cookie"); len(got) != 1 || got[0] != "theme=dark" {
			t.Errorf("the visitor gets %q", got)
		}
	})
}

// C12: an id counts in the cookie alone.
func TestC12IDOnlyFromCookie(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		id := v.id()
		f.operations()
		for _, target := range []string{"/?__Host-psid=" + id, "/;jsessionid=" + id, "/" + id} {
			a := p.visitor().ask("POST", target, nil, "X-Session-Id", id, "Authorization", "Bearer "+id, "Pillion-Session", `{"a":1}`)
			if a.app.session() != "{}" {
				t.Errorf("%s: the app got %s", target, a.app.session())
			}
		}
		if n := f.operations(); n != 0 {
			t.Errorf("%d operations", n)
		}
	})
}

// The cookie is set at birth, renewal, relocation, takeover and destruction, and at no other answer (C, L9).
func TestCookieIsNotRepeated(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		for i := range 20 {
			if line := v.get(patch(fmt.Sprintf(`{"a":%d}`, i))).setCookie(); line != "" {
				t.Errorf("write %d: %s", i, line)
			}
			wait(2 * time.Minute)
			if line := v.get(nil).setCookie(); line != "" {
				t.Errorf("read %d: %s", i, line)
			}
		}
	})
}
