package config_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

const cookieName = "__Host-psid"

// client keeps no connection: the machines come and go under the same addresses.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * deadline}

// visitor is a browser behind a front that ends TLS: it sends the Secure cookie that it was given.
type visitor struct {
	t      *testing.T
	cookie string
}

// answer is what a visitor gets.
type answer struct {
	status int
	header http.Header
	body   string
	took   time.Duration
}

// ask sends one request to a machine's sidecar, which must answer, and leaves the cookie as it is.
func (v *visitor) ask(m *machine, target string) answer {
	req, err := http.NewRequest("GET", "http://"+m.address+":8080"+target, nil)
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	if v.cookie != "" {
		req.AddCookie(&http.Cookie{Name: cookieName, Value: v.cookie})
	}
	begin := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Error(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body), time.Since(begin)}
}

// get asks and takes the cookie of the answer.
func (v *visitor) get(m *machine, target string) answer {
	v.t.Helper()
	a := v.ask(m, target)
	if a.status != http.StatusOK {
		v.t.Fatalf("%s%s: %d %s%s", m.name, target, a.status, a.header.Get("Proxy-Status"), a.body)
	}
	for _, cookie := range (&http.Response{Header: a.header}).Cookies() {
		if cookie.Name == cookieName {
			v.cookie = cookie.Value
		}
	}
	return a
}

// counts adds one to the count, which must then be want.
func (v *visitor) counts(m *machine, want int) answer {
	v.t.Helper()
	a := v.get(m, "/counter")
	if a.body != strconv.Itoa(want) {
		v.t.Fatalf("%s counts %s, want %d", m.name, a.body, want)
	}
	return a
}

// reads looks at the count without changing it.
func (v *visitor) reads(m *machine, want int) {
	v.t.Helper()
	if a := v.get(m, "/get"); a.body != `{"count":`+strconv.Itoa(want)+`}` {
		v.t.Fatalf("%s reads %s, want a count of %d", m.name, a.body, want)
	}
}

// id is the session id in the cookie.
func (v *visitor) id() ring.ID {
	v.t.Helper()
	id, err := ring.ParseID(v.cookie)
	if err != nil {
		v.t.Fatalf("%v: %q", err, v.cookie)
	}
	return id
}

// named checks which node and which sidecar the id names; a shared session has no home.
func (v *visitor) named(n *node, route string) {
	v.t.Helper()
	if id := v.id(); id.Node != n.name || id.Route != route {
		v.t.Fatalf("the id ends in -%s.%s, want -%s.%s", id.Node, id.Route, n.name, route)
	}
}
