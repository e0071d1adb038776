package sidecar_test

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// raw sends bytes to a sidecar on a connection of its own and returns the answer, nil when the connection closed without one.
func (p *process) raw(from, text string) *http.Response {
	p.f.t.Helper()
	c, err := p.listener.dialFrom(context.Background(), from)
	if err != nil {
		p.f.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	go func() { _, _ = io.WriteString(c, text) }()
	answers := bufio.NewReader(c)
	resp, err := http.ReadResponse(answers, nil)
	for err == nil && resp.StatusCode == 100 {
		resp, err = http.ReadResponse(answers, nil)
	}
	if err != nil {
		return nil
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp
}

// request spells a raw request for script s; lines are its further field lines.
func (p *process) request(method, target string, s script, lines ...string) (text, name string) {
	name = p.f.app.add(s)
	lines = append([]string{method + " " + target + " HTTP/1.1", "Host: shop.test", scriptField + ": " + name}, lines...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n", name
}

const browser = "198.51.100.7:5000"

// H1, H4: whatever spelling of our names a client sends, the app gets ours, each once.
func TestH1H4SpoofsNeverArrive(t *testing.T) {
	spellings := []string{
		"Pillion-Session", "PILLION-SESSION", "pillion_session", "Pillion.Session", "Pillion'Session", "Pillion!Session", "Pillion~Session",
		"Pillion*Session", "Pillion-Meta", "Pillion_Meta", "Pillion-Handle", "Pillion-Auth", "Pillion--", "Pillion-Not-Executed", "pillion|op",
	}
	keyed := func(s *setup) { s.Handles, s.AppAuth = true, [][]byte{secret} }
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		var lines []string
		for _, name := range spellings {
			lines = append(lines, name+`: {"user":"admin"}`, name+`: {"user":"root"}`)
		}
		text, name := p.request("GET", "/", nil, lines...)
		if resp := p.raw(browser, text); resp == nil || resp.StatusCode != 200 {
			t.Fatalf("answer %v", resp)
		}
		got := p.f.app.request(name)
		ours := 0
		for field, values := range got.Header {
			if strings.HasPrefix(normal(field), "pillion-") {
				ours += len(values)
			}
			if strings.Contains(strings.Join(values, ""), "user") {
				t.Errorf("the app gets %s: %q", field, values)
			}
		}
		if ours != 4 || got.session() != `{}` {
			t.Errorf("the app gets %d fields of ours: %v", ours, got.Header)
		}
		if n := p.counted("spoofs_total"); n != float64(2*len(spellings)) {
			t.Errorf("%v spoofs of %d were counted", n, 2*len(spellings))
		}
	}, keyed)
}

// normal is a field name as CGI sees it.
func normal(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
}

// H2, H3: hop-by-hop fields end at the sidecar in both directions, and a client cannot name ours to be among them.
func TestH2H3HopByHop(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		do := says("Connection", "X-Internal", "X-Internal", "1", "Keep-Alive", "timeout=5", "Proxy-Authenticate", "Basic", "X-Kept", "1")
		text, name := p.request("GET", "/", do, "Cookie: __Host-psid="+v.id(),
			"Connection: keep-alive, X-Hop, Pillion-Session, Pillion-Meta, Pillion-Handle, Cookie", "X-Hop: 1", "Keep-Alive: 5", "TE: trailers",
			"Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x", "X-Kept: 1")
		resp := p.raw(browser, text)
		got := p.f.app.request(name)
		if got.meta("size") == "" || got.session() == "" {
			t.Errorf("the app gets %v", got.Header)
		}
		for _, field := range []string{"Connection", "X-Hop", "Keep-Alive", "Te", "Proxy-Connection", "Proxy-Authorization"} {
			if got.Header[field] != nil {
				t.Errorf("the app gets %s: %q", field, got.Header[field])
			}
		}
		for _, field := range []string{"X-Internal", "Keep-Alive", "Proxy-Authenticate"} {
			if resp.Header[field] != nil {
				t.Errorf("the visitor gets %s: %q", field, resp.Header[field])
			}
		}
		if got.Header.Get("X-Kept") == "" || resp.Header.Get("X-Kept") == "" {
			t.Error("an end-to-end field is gone")
		}
	})
}

// H3, H5: an app that names an instruction in Connection is obeyed: the sidecar is the next hop.
func TestH3InstructionsOfOneHop(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(says("Pillion-Patch", `{"a":1}`, "Connection", "Pillion-Patch"))
		v.must(`{"a":1}`)
		if a := v.get(says("Pillion-Op", "destroy", "Connection", "pillion-op")); v.id() != "" || a.Header["Pillion-Op"] != nil {
			t.Errorf("the logout was lost: %v", a.Header)
		}
	})
}

// H5: no field of ours reaches a visitor: in final heads of every kind, 1xx, 101, announced and unannounced trailers.
func TestH5InstructionsNeverLeave(t *testing.T) {
	spelt := []string{"Pillion-Patch", `{"a":1}`, "pillion_op", "renew", "PILLION.SESSION", "{}", "Pillion-Unknown", "x"}
	interim := func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Pillion-Patch"], w.Header()["pillion_patch"] = []string{`{"a":1}`}, []string{"x"}
		w.Header()["Link"] = []string{"</style.css>"}
		w.WriteHeader(103)
		clear(w.Header())
		w.WriteHeader(200)
	}
	trailers := func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Trailer"] = []string{"Pillion-Patch, X-Sum"}
		w.WriteHeader(200)
		_, _ = io.WriteString(w, "body")
		w.Header().Set("Pillion-Patch", `{"a":1}`)
		w.Header().Set("X-Sum", "1")
		w.Header()[http.TrailerPrefix+"Pillion-Op"] = []string{"destroy"}
		w.Header()[http.TrailerPrefix+"pillion_op"] = []string{"destroy"}
	}
	lenient := func(s *setup) { s.Strict = false }
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		for name, do := range map[string]script{
			"200": says(spelt...), "404": says(append(spelt, ":status", "404")...), "500": says(append(spelt, ":status", "500")...),
			"304": says(append(spelt, ":status", "304")...), "302": says(append(spelt, ":status", "302", "Location", "/x")...),
			"103": interim, "trailers": trailers,
		} {
			for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
				var interims []textproto.MIMEHeader
				ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{
					Got1xxResponse: func(_ int, h textproto.MIMEHeader) error { interims = append(interims, h); return nil },
				})
				a, err := p.visitor().try(ctx, method, "/", do)
				if err != nil {
					t.Fatalf("%s %s: %v", method, name, err)
				}
				heads := []map[string][]string{a.Header, a.Trailer}
				for _, h := range interims {
					heads = append(heads, h)
				}
				for _, h := range heads {
					for field := range h {
						if strings.HasPrefix(normal(field), "pillion-") {
							t.Errorf("%s %s: the visitor gets %s", method, name, field)
						}
					}
				}
				if name == "103" && method == "GET" && (len(interims) != 1 || interims[0].Get("Link") == "") {
					t.Errorf("the 103 did not arrive as it was: %v", interims)
				}
				if name == "trailers" && method == "GET" && a.Trailer.Get("X-Sum") != "1" {
					t.Errorf("the trailer did not arrive: %v", a.Trailer)
				}
			}
		}
		if p.counted("contract_errors_total", "interim") == 0 || p.counted("contract_errors_total", "trailer") == 0 {
			t.Error("misplaced instructions were not counted")
		}
	}, lenient)
}

// H8: Pillion-Auth, verified by the header contract's own words.
func TestH8Auth(t *testing.T) {
	example := http.Header{
		"Pillion-Session": {`{"user":"u123","cart":{"n":2}}`},
		"Pillion-Meta":    {`v="9f2c51d07a6be834", new=?0, ref="k3Jx9wq0P7bYt2LmVhZc5RdA8sUfE1Gi", created=@1763829000, exp=@1763832600, idle=1800, size=30, inline`},
		"Pillion-Auth":    {`t=@1763830021, n=:MTIzNDU2Nzg5MDEy:, mac=:lLeZphlpInnSUzQhpDVqWzm+O+iQdpPOVv9tfQjp5rM=:`},
	}
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i)
	}
	if _, ok := genuine(example, "GET", key); !ok {
		t.Error("the example of docs/header-contract.md does not verify")
	}
	first, second := []byte(strings.Repeat("1", 32)), []byte(strings.Repeat("2", 32))
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		for _, method := range []string{"GET", "POST", "DELETE"} {
			h := v.ask(method, "/", nil, "Pillion-Auth", "t=@1, n=:AA==:, mac=:AA==:").app.Header
			at, ok := genuine(h, method, first)
			if !ok || time.Now().Unix() != at || len(h["Pillion-Auth"]) != 1 {
				t.Errorf("%s: %q at %d", method, h["Pillion-Auth"], at)
			}
			if _, ok := genuine(h, "PUT", first); ok {
				t.Error("it holds for another method")
			}
			if _, ok := genuine(h, method, second); ok {
				t.Error("the second key signed")
			}
			for _, field := range []string{"Pillion-Session", "Pillion-Meta", "Pillion-Handle"} {
				edited := h.Clone()
				edited.Del(field)
				if _, ok := genuine(edited, method, first); ok {
					t.Errorf("it holds without %s", field)
				}
			}
		}
	}, func(s *setup) { s.AppAuth, s.Handles = [][]byte{first, second}, true })
}

// genuine is docs/header-contract.md's function in Go.
func genuine(h http.Header, method string, key []byte) (at int64, ok bool) {
	auth := map[string]string{}
	for part := range strings.SplitSeq(h.Get("Pillion-Auth"), ", ") {
		name, value, _ := strings.Cut(part, "=")
		auth[name] = strings.Trim(value, ":")
	}
	t := strings.TrimPrefix(auth["t"], "@")
	n, _ := base64.StdEncoding.DecodeString(auth["n"])
	want, _ := base64.StdEncoding.DecodeString(auth["mac"])
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{"pillion/auth/1", t, string(n), method, h.Get("Pillion-Session"), h.Get("Pillion-Meta"), h.Get("Pillion-Handle")} {
		_ = binary.Write(mac, binary.BigEndian, uint32(len(part)))
		_, _ = io.WriteString(mac, part)
	}
	at, _ = strconv.ParseInt(t, 10, 64)
	return at, hmac.Equal(mac.Sum(nil), want)
}

// H12: what a client says about clients before it counts only when it is a trusted proxy; Secure never depends on it.
func TestH12Forwarded(t *testing.T) {
	claims := []string{"X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: gopher", "X-Forwarded-Host: evil.test", "Forwarded: for=9.9.9.9", "X_Forwarded_For: 9.9.9.9"}
	for _, row := range []struct{ from, chain, proto string }{
		{browser, "198.51.100.7", "http"},
		{"10.1.2.3:400", "9.9.9.9, 10.1.2.3", "gopher"},
	} {
		inMode(t, true, func(t *testing.T, _ *fleet, p *process) {
			text, name := p.request("GET", "/", patch(`{"a":1}`), claims...)
			resp := p.raw(row.from, text)
			h := p.f.app.request(name).Header
			if got := h.Get("X-Forwarded-For"); got != row.chain {
				t.Errorf("from %s: X-Forwarded-For %s", row.from, got)
			}
			if got := h.Get("X-Forwarded-Proto"); got != row.proto {
				t.Errorf("from %s: X-Forwarded-Proto %s", row.from, got)
			}
			if h["X_forwarded_for"] != nil || row.proto == "http" && h["Forwarded"] != nil {
				t.Errorf("from %s: %v", row.from, h)
			}
			if !strings.Contains(resp.Header.Get("Set-Cookie"), "; Secure") {
				t.Errorf("from %s: %s", row.from, resp.Header.Get("Set-Cookie"))
			}
		}, func(s *setup) { s.http.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
	}
}

// Every answer of Pillion's own says so (RFC 9209), is text and is not cached; a 503 says when to come back.
func TestOwnAnswersAreTold(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		check := func(a *answer, status int, token string) {
			t.Helper()
			want := fmt.Sprintf("pillion; error=%s; details=", token)
			if a.StatusCode != status || !strings.HasPrefix(a.Header.Get("Proxy-Status"), want) || a.Header.Get("Cache-Control") != "no-store" ||
				a.body == "" || (a.Header.Get("Retry-After") != "") != (status == 503) || a.setCookie() != "" {
				t.Errorf("%d %v %q, want %d %s", a.StatusCode, a.Header, a.body, status, token)
			}
			if n := p.counted("own_answers_total", token); n != 1 {
				t.Errorf("%s was not counted", token)
			}
		}
		check(v.get(patch(`{`)), 502, head.ContractError)
		v.get(patch(`{"b":"` + strings.Repeat("x", 40_000) + `"}`))
		check(v.get(patch(`{"c":"`+strings.Repeat("x", 40_000)+`"}`)), 502, head.SessionTooLarge)
		f.nodes[0].kill()
		f.nodes[1].kill()
		check(p.visitor().take(v.id()).get(op("destroy")), 503, map[bool]string{true: head.CommitFailed, false: head.RingDown}[p.setup.Sticky])
		f.app.listener.close()
		p.client.CloseIdleConnections()
		wait(time.Minute)
		check(p.visitor().get(nil), 503, head.AppUnreachable)
	})
}
