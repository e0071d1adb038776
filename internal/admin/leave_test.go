package admin_test

import (
	"errors"
	"testing"

	"github.com/pillion-proxy/pillion/internal/admin"
)

type leaver struct {
	leaving, ending bool
	waiting         []string
}

func (l *leaver) Drain() { l.leaving = true }

func (l *leaver) Undrain() error {
	if l.ending {
		return errors.New("the process is ending")
	}
	l.leaving = false
	return nil
}

func (l *leaver) Leaving() (bool, []string) { return l.leaving, l.waiting }

func TestDrainAndUndrain(t *testing.T) {
	l := &leaver{}
	srv := serve(t, admin.Options{Listener: loopbackAddr, Leaver: l})
	for _, step := range []struct {
		method, path, body string
		before             func()
		status             int
		want               string
	}{
		{"GET", "/drain", "", nil, 200, `{"draining":false,"waiting":[]}`},
		{"POST", "/drain", "", nil, 400, `{"error":"the body must be {}"}`},
		{"POST", "/drain", `{"for":"ever"}`, nil, 400, `{"error":"the body must be {}"}`},
		{"GET", "/drain", "", nil, 200, `{"draining":false,"waiting":[]}`},
		{"POST", "/drain", "{}", func() { l.waiting = []string{"2 requests"} }, 200, `{"draining":true,"waiting":["2 requests"]}`},
		{"POST", "/undrain", "[]", nil, 400, `{"error":"the body must be {}"}`},
		{"POST", "/undrain", "{}", func() { l.waiting = nil }, 200, `{"draining":false,"waiting":[]}`},
		{"POST", "/undrain", "{}", func() { l.ending = true }, 409, `{"error":"the process is ending"}`},
	} {
		if step.before != nil {
			step.before()
		}
		resp, body := do(t, srv, step.method, step.path, step.body, "Content-Type", "application/json")
		if resp.StatusCode != step.status || compact(t, body) != step.want {
			t.Errorf("%s %s %s: %d %s, want %d %s", step.method, step.path, step.body, resp.StatusCode, body, step.status, step.want)
		}
	}
}

// A change needs the token where other machines reach the listener, and reading is none of the probes that need none.
func TestDrainNeedsTheToken(t *testing.T) {
	l := &leaver{}
	srv := serve(t, admin.Options{Token: "secret", Hosts: []string{"127.0.0.1"}, Leaver: l})
	for _, method := range []string{"GET", "POST"} {
		if resp, _ := do(t, srv, method, "/drain", "{}", "Content-Type", "application/json"); resp.StatusCode != 401 || l.leaving {
			t.Errorf("%s without the token: %d", method, resp.StatusCode)
		}
	}
	if resp, _ := do(t, srv, "POST", "/drain", "{}", "Content-Type", "application/json", "Authorization", "Bearer secret"); resp.StatusCode != 200 || !l.leaving {
		t.Errorf("with the token: %d", resp.StatusCode)
	}
}
