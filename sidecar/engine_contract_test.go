package sidecar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/api"
)

// H6: one wrong instruction voids the whole answer: a 502 when strict, else an answer without effect.
func TestH6ContractErrors(t *testing.T) {
	rows := []struct {
		name   string
		fields []string
	}{
		{"not JSON", []string{"Pillion-Patch", `{"b":`}},
		{"not an object", []string{"Pillion-Patch", `["b"]`}},
		{"trailing text", []string{"Pillion-Patch", `{"b":2} x`}},
		{"empty", []string{"Pillion-Patch", ``}},
		{"twice", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Patch", `{"b":2}`}},
		{"in two spellings", []string{"Pillion-Patch", `{"b":2}`, "pillion_patch", `{"b":3}`}},
		{"patch and replace", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Replace", `{}`}},
		{"duplicate name", []string{"Pillion-Patch", `{"b":2,"b":3}`}},
		{"duplicate name below", []string{"Pillion-Patch", `{"b":[{"c":1,"c":2}]}`}},
		{"duplicate name, escaped", []string{"Pillion-Patch", `{"b":2,"\u0062":3}`}},
		{"UTF-8", []string{"Pillion-Patch", `{"b":"ä"}`}},
		{"not UTF-8", []string{"Pillion-Patch", "{\"b\":\"\xff\"}"}},
		{"tab", []string{"Pillion-Patch", "{\"b\":\t2}"}},
		{"lone surrogate", []string{"Pillion-Patch", `{"b":"\ud800"}`}},
		{"too long", []string{"Pillion-Patch", `{"b":"` + strings.Repeat("x", 64<<10) + `"}`}},
		{"too deep", []string{"Pillion-Patch", strings.Repeat(`{"b":`, 33) + `1` + strings.Repeat(`}`, 33)}},
		{"too many names", []string{"Pillion-Patch", `{"b":` + manyNames(1000) + `}`}},
		{"unknown operation", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Op", "persist"}},
		{"unknown instruction", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Reply", "x"}},
		{"an echo", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Session", `{}`}},
		{"bare subject", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Subject", "ada"}},
		{"empty subject", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Subject", `""`}},
		{"long subject", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Subject", `"` + strings.Repeat("x", 257) + `"`}},
		{"idle too long", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Idle", "1801"}},
		{"idle no number", []string{"Pillion-Patch", `{"b":2}`, "Pillion-Idle", "-1"}},
		{"valid with a bad destroy", []string{"Pillion-Op", "destroy,,", "Pillion-Patch", `{"b":2}`}},
	}
	for _, strict := range []bool{true, false} {
		t.Run(map[bool]string{true: "strict", false: "lenient"}[strict], func(t *testing.T) {
			bothModes(t, func(t *testing.T, f *fleet, p *process) {
				v := p.visitor()
				v.get(patch(`{"a":1}`))
				id := v.id()
				f.operations()
				writes := f.operations()
				for i, row := range rows {
					a := v.get(says(append(row.fields, "X-App", "1")...))
					want := map[bool]int{true: 502, false: 200}[strict]
					if a.StatusCode != want || strict != (a.token() == "contract_error") || strict == (a.Header.Get("X-App") != "") || a.setCookie() != "" {
						t.Errorf("%s: %d %v", row.name, a.StatusCode, a.Header)
					}
					if got := p.visitor().get(says(row.fields...)).setCookie(); got != "" {
						t.Errorf("%s: a session was born: %s", row.name, got)
					}
					if n := p.counted("contract_errors_total", "instruction"); n != float64(2*(i+1)) {
						t.Errorf("%s: %v contract errors, want %d", row.name, n, 2*(i+1))
					}
					v.must(`{"a":1}`)
				}
				for _, n := range f.nodes {
					for _, line := range n.commands() {
						if !strings.HasPrefix(line, "get") {
							writes++
						}
					}
				}
				if writes != 0 || v.id() != id {
					t.Errorf("%d writes", writes)
				}
			}, func(s *setup) { s.Strict = strict })
		})
	}
}

// manyNames is an object with n members.
func manyNames(n int) string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf(`"%d":0`, i))
	}
	return "{" + strings.Join(names, ",") + "}"
}

// H10: what goes to the app is ASCII, whatever the text; and comes back the same.
func TestH10ASCII(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		v := p.visitor()
		for _, text := range []string{"näive", "😀", "\u2028\u2029", "\x7f\u0080\u00ff", `"\/` + "\n\t\x00", "日本語", strings.Repeat("é", 100)} {
			quoted, err := json.Marshal(map[string]string{"t": text, text: "name"})
			if err != nil {
				t.Fatal(err)
			}
			v.get(says("Pillion-Replace", ascii(string(quoted))))
			got := v.session()
			if strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r > 0x7e }) {
				t.Errorf("%q reaches the app as %q", text, got)
			}
			var back map[string]string
			if err := json.Unmarshal([]byte(got), &back); err != nil || back["t"] != text || back[text] != "name" {
				t.Errorf("%q came back as %q (%v)", text, got, err)
			}
		}
	})
}

// ascii escapes JSON for a header.
func ascii(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// H11: the limits of JSON, and numbers by their digits.
func TestH11JSON(t *testing.T) {
	bothModes(t, func(t *testing.T, _ *fleet, p *process) {
		for _, value := range []string{
			"9007199254740993", "1e400", "-0", "0.1000000000000000055511151231257827", "1E+2", "123456789012345678901234567890", "1.0",
			strings.Repeat("[", 31) + strings.Repeat("]", 31), manyNames(999), `{"$b64":"AAECAw=="}`, `""`, `{}`, `[null]`, "false",
		} {
			v := p.visitor()
			if a := v.get(patch(`{"b":` + value + `}`)); a.StatusCode != 200 {
				t.Errorf("%.40s: %d %s", value, a.StatusCode, a.body)
				continue
			}
			a := v.get(nil)
			if got := a.app.session(); got != `{"b":`+value+`}` && a.app.meta("inline") == "?1" {
				t.Errorf("%.40s came back as %.60s", value, got)
			}
		}
	})
}

// RFC 7396, as the contract uses it: what each instruction makes of a session.
func TestInstructionsApply(t *testing.T) {
	const before = `{"a":1,"o":{"x":1,"y":2},"s":"t"}`
	for _, row := range []struct {
		name, after string
		fields      []string
	}{
		{"set", `{"a":2,"o":{"x":1,"y":2},"s":"t"}`, []string{"Pillion-Patch", `{"a":2}`}},
		{"delete", `{"o":{"x":1,"y":2},"s":"t"}`, []string{"Pillion-Patch", `{"a":null}`}},
		{"merge", `{"a":1,"o":{"y":3,"z":4},"s":"t"}`, []string{"Pillion-Patch", `{"o":{"x":null,"y":3,"z":4}}`}},
		{"merge over a text", `{"a":1,"o":{"x":1,"y":2},"s":{"b":1}}`, []string{"Pillion-Patch", `{"s":{"b":1,"c":null}}`}},
		{"nothing", before, []string{"Pillion-Patch", `{}`}},
		{"delete what is not there", before, []string{"Pillion-Patch", `{"q":null}`}},
		{"replace", `{"n":1,"s":"t"}`, []string{"Pillion-Replace", `{"s":"t","n":1}`}},
		{"clear", `{}`, []string{"Pillion-Op", "clear"}},
		{"clear and patch", `{"o":{"z":1}}`, []string{"Pillion-Op", "clear", "Pillion-Patch", `{"o":{"z":1,"x":null}}`}},
		{"clear and replace", `{"n":1}`, []string{"Pillion-Op", "clear", "Pillion-Replace", `{"n":1}`}},
		{"touch", before, []string{"Pillion-Op", "touch"}},
		{"renew", before, []string{"Pillion-Op", "renew"}},
		{"clear and renew", `{"n":1}`, []string{"Pillion-Op", "clear, renew", "Pillion-Patch", `{"n":1}`}},
		{"login", `{"a":1,"o":{"x":1,"y":2},"s":"t","user":"ada"}`, []string{"Pillion-Patch", `{"user":"ada"}`, "Pillion-Subject", `"ada"`, "Pillion-Op", "renew"}},
		{"destroy beside everything", `{}`, []string{"Pillion-Patch", `{"a":2}`, "Pillion-Op", "renew, destroy", "Pillion-Idle", "60"}},
		{"idle", before, []string{"Pillion-Idle", "60"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, _ *fleet, p *process) {
				v := p.visitor()
				v.get(patch(before))
				if a := v.get(says(row.fields...)); a.StatusCode != 200 {
					t.Fatalf("%d %s", a.StatusCode, a.body)
				}
				a := v.get(nil)
				if got := a.app.session(); got != row.after {
					t.Errorf("the session is %s, want %s", got, row.after)
				}
				if row.name == "idle" && a.app.meta("idle") != "60" {
					t.Errorf("idle is %s", a.app.meta("idle"))
				}
			})
		})
	}
}

// Pillion-Meta tells the truth, and v names the content.
func TestMeta(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		if m := v.get(nil).app.Header.Get("Pillion-Meta"); m != "new, size=2, inline" {
			t.Errorf("without a session: %s", m)
		}
		v.get(patch(`{"a":1}`))
		born := time.Now().Unix()
		wait(100 * time.Second)
		m := v.get(nil).app
		want := fmt.Sprintf(`v=%q, new=?0, ref=%q, created=@%d, exp=@%d, idle=1800, size=7, inline`, m.meta("v"), m.meta("ref"), born, born+1900)
		if got := m.Header.Get("Pillion-Meta"); got != want || len(m.meta("v")) != 16 {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if keys := f.keys(); len(keys) != 1 || keys[0] != "p1:shop:"+m.meta("ref") {
			t.Errorf("ref is %s, stored under %q", m.meta("ref"), keys)
		}
		same := v.get(patch(`{"b":1}`)).app
		other := v.get(nil).app
		if same.meta("v") != m.meta("v") || other.meta("v") == m.meta("v") || other.meta("ref") != m.meta("ref") {
			t.Errorf("v %s, then %s, then %s", m.meta("v"), same.meta("v"), other.meta("v"))
		}
	})
}

// A1: a session that does not fit is read by its handle on the loopback API, by no page in a browser, and not after its request.
func TestA1LoopbackAPI(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		listener := api.New(p.Handler)
		read := func(handle string, fields ...string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", "http://127.0.0.1:9902/v1/session", nil)
			r.Header.Set("Pillion-Handle", handle)
			for i := 0; i < len(fields); i += 2 {
				r.Header.Set(fields[i], fields[i+1])
				if fields[i] == "Host" {
					r.Host = fields[i+1]
				}
			}
			w := httptest.NewRecorder()
			listener.ServeHTTP(w, r)
			return w
		}
		v := p.visitor()
		large := `{"big":"` + strings.Repeat("x", 5000) + `"}`
		v.get(patch(large))
		var handle string
		a := v.get(func(w http.ResponseWriter, r *http.Request) {
			handle = r.Header.Get("Pillion-Handle")
			w.Header().Set("Pillion-Patch", `{"big":"small"}`)
			if got := read(handle); got.Code != 200 || got.Body.String() != large {
				t.Errorf("%d %.40s", got.Code, got.Body)
			}
			for _, row := range [][2]string{
				{"Origin", "http://127.0.0.1:9902"}, {"Sec-Fetch-Site", "same-origin"}, {"Host", "evil.test"}, {"Host", "127.0.0.1.evil.test"},
			} {
				if got := read(handle, row[0], row[1]); got.Code != 403 {
					t.Errorf("%s: %d", row, got.Code)
				}
			}
		})
		if a.app.Header["Pillion-Session"] != nil || a.app.meta("inline") != "?0" || a.app.meta("size") != fmt.Sprint(len(large)) {
			t.Errorf("the app got %v", a.app.Header["Pillion-Meta"])
		}
		if got := read(handle); got.Code != 200 || got.Body.String() != large || got.Header().Get("ETag") != `"`+a.app.meta("v")+`"` {
			t.Errorf("right after the request: %d %.40s", got.Code, got.Body)
		}
		wait(11 * time.Second)
		if got, unknown := read(handle), read("unknown"); got.Code != 404 || got.Body.String() != unknown.Body.String() {
			t.Errorf("later: %d %s", got.Code, got.Body)
		}
		if next := v.get(nil).app.Header.Get("Pillion-Handle"); next == handle || len(next) != 32 || strings.Contains(v.id(), next) {
			t.Errorf("the next handle is %q", next)
		}
	}, func(s *setup) { s.Handles = true })
}
