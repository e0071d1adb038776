package demo

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestApp(t *testing.T) {
	app := App("app1")
	for _, tc := range []struct {
		path, session string
		patch, op     string
		body          string // a part of it
	}{
		{path: "/", session: `{}`, body: "<title>Pillion demo</title>"},
		{path: "/get", session: `{"count":2}`, body: `{"count":2}`},
		{path: "/counter", session: `{}`, patch: `{"count":1}`, body: `{"served_by":"app1","value":1}`},
		{path: "/counter?k=k7", session: `{"k7":41,"count":1}`, patch: `{"k7":42}`, body: `"value":42`},
		{path: "/set?k=a&v=ü😀%7f", session: `{}`, patch: `{"a":"\u00fc\ud83d\ude00\u007f"}`, body: `"value":"ü😀`},
		{path: "/login?user=ada", session: `{}`, patch: `{"user":"ada"}`, op: "renew", body: `"value":"ada"`},
		{path: sessionPath, session: `{}`, body: `{"ref":"abc"}`},
		{path: "/logout", session: `{}`, op: "destroy", body: `"value":null`},
		{path: "/invalidate", session: `{}`, op: "destroy", body: `"value":null`},
	} {
		r := httptest.NewRequest("POST", tc.path, nil)
		r.Header.Set("Pillion-Session", tc.session)
		r.Header.Set("Pillion-Meta", `v="1", ref="abc", idle=1800`)
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		h := w.Header()
		if w.Code != http.StatusOK || h.Get("Pillion-Patch") != tc.patch || h.Get("Pillion-Op") != tc.op || !strings.Contains(w.Body.String(), tc.body) {
			t.Errorf("%s with %s: %d %v %.200s", tc.path, tc.session, w.Code, h, w.Body)
		}
	}
}
