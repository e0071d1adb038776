package sidecar_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

func login(user string) script {
	return says("Pillion-Patch", fmt.Sprintf(`{"user":%q}`, user), "Pillion-Subject", fmt.Sprintf("%q", user), "Pillion-Op", "renew")
}

// L6: logging a subject out everywhere ends all of its sessions, at every sidecar, and nobody else's; it can log in again at once.
func TestL6LogoutEverywhere(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		other := f.sidecar("a2", p.alike)
		phone, laptop, ben := p.visitor(), other.visitor(), p.visitor()
		phone.get(patch(`{"cart":1}`))
		phone.get(login("ada"))
		laptop.get(login("ada"))
		ben.get(login("ben"))
		late, arrived, goOn := held(patch(`{"late":1}`))
		done := make(chan struct{})
		go func() { p.visitor().take(phone.id()).get(late); close(done) }()
		<-arrived
		wait(time.Second) // the list is written
		n, err := p.DestroySubject(t.Context(), "ada")
		if err != nil || n != 2 {
			t.Fatalf("%d sessions ended, %v; want 2", n, err)
		}
		close(goOn)
		<-done
		wait(2100 * time.Millisecond) // session.revocation_check
		phone.must(`{}`)
		laptop.must(`{}`)
		ben.must(`{"user":"ben"}`)
		phone.get(login("ada"))
		phone.must(`{"user":"ada"}`)
	})
}

// L6: the epoch decides, not the list: a session that no list names is over as well, and so is one whose list was lost.
func TestL6WithoutTheList(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(login("ada"))
		wait(time.Second)
		for _, n := range f.nodes {
			n.server.Poke(ring.SubjectKey(space, "ada"), func([]byte) []byte { return []byte("lost") })
		}
		n, err := p.DestroySubject(t.Context(), "ada")
		if err != nil || n != 0 {
			t.Fatalf("%d listed, %v", n, err)
		}
		wait(2100 * time.Millisecond)
		v.must(`{}`)
	})
}

// A revocation that cannot be written is an error, never a promise.
func TestL6NeedsTheRing(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		for _, n := range f.nodes {
			n.kill()
		}
		if _, err := p.DestroySubject(t.Context(), "ada"); err == nil {
			t.Error("acknowledged without a node")
		}
		if a := p.visitor().get(login("ada")); a.StatusCode != 503 {
			t.Errorf("a login whose subject's epoch is not known: %d", a.StatusCode)
		}
	})
}

// L7: of more sessions than session.per_subject the oldest end; sessions that ended by themselves do not count.
func TestL7SessionsPerSubject(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		var all []*visitor
		for range 3 {
			v := p.visitor()
			v.get(login("ada"))
			all = append(all, v)
			wait(time.Second)
		}
		all[0].must(`{}`)
		all[1].must(`{"user":"ada"}`)
		all[2].must(`{"user":"ada"}`)
		all[1].get(op("destroy"))
		wait(time.Second)
		v := p.visitor()
		v.get(login("ada"))
		wait(time.Second)
		v.must(`{"user":"ada"}`)
		all[2].must(`{"user":"ada"}`)
	}, func(s *setup) { s.PerSubject = 2 })
}

// A session with a subject costs one look at the subject's epoch, on every node, each session.revocation_check; one without costs nothing.
func TestSubjectOperations(t *testing.T) {
	inMode(t, true, func(t *testing.T, f *fleet, p *process) {
		v, nobody := p.visitor(), p.visitor()
		v.get(login("ada"))
		nobody.get(patch(`{"a":1}`))
		wait(3 * time.Second)
		f.operations()
		for range 20 {
			v.must(`{"user":"ada"}`)
		}
		if n := f.operations(); n != len(f.nodes) {
			t.Errorf("20 reads within session.revocation_check asked the nodes %d times", n)
		}
		for range 20 {
			nobody.must(`{"a":1}`)
		}
		if n := f.operations(); n != 0 {
			t.Errorf("20 reads without a subject asked the nodes %d times", n)
		}
	})
}

// A login whose session is renewed by another request meanwhile binds the renewed one.
func TestLoginMeetsRenewal(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		late := p.visitor().take(v.id())
		do, arrived, goOn := held(says("Pillion-Patch", `{"b":1}`, "Pillion-Subject", `"ada"`))
		ended := make(chan *answer)
		go func() { ended <- late.get(do) }()
		<-arrived
		v.get(op("renew"))
		close(goOn)
		if a := <-ended; a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.token())
		}
		v.must(`{"a":1,"b":1}`)
		wait(time.Second)
		if n, err := p.DestroySubject(t.Context(), "ada"); err != nil || n != 1 {
			t.Errorf("%d sessions are listed, %v", n, err)
		}
		v.must(`{}`)
	})
}

// A renewal that began before another request's login carries that login over: or the renewed session would not end with its subject's.
func TestRenewalMeetsLogin(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"a":1}`))
		do, arrived, goOn := held(says("Pillion-Op", "renew"))
		renewed := make(chan *answer)
		go func() { renewed <- v.get(do) }()
		<-arrived
		p.visitor().take(v.id()).get(says("Pillion-Patch", `{"b":1}`, "Pillion-Subject", `"ada"`))
		close(goOn)
		<-renewed
		v.must(`{"a":1,"b":1}`)
		wait(time.Second)
		if _, err := p.DestroySubject(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		wait(3 * time.Second)
		v.must(`{}`)
	})
}

// A subject's list holds the living sessions, and at most 256: those that ended leave it, and of too many the oldest.
func TestSubjectListIsBounded(t *testing.T) {
	for _, row := range []struct{ logins, logouts, want int }{{5, 3, 2}, {300, 0, 256}} {
		inMode(t, false, func(t *testing.T, f *fleet, p *process) {
			var all []*visitor
			for range row.logins {
				v := p.visitor()
				v.get(says("Pillion-Patch", `{"a":1}`, "Pillion-Subject", `"ada"`))
				wait(100 * time.Millisecond)
				all = append(all, v)
			}
			for _, v := range all[:row.logouts] {
				v.get(op("destroy"))
				wait(100 * time.Millisecond)
			}
			if n, err := p.DestroySubject(t.Context(), "ada"); err != nil || n != row.want {
				t.Errorf("%d sessions are listed, want %d; %v", n, row.want, err)
			}
		})
	}
}
