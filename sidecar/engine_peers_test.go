package sidecar_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/sidecar"
)

func (v *visitor) through(p *process) *visitor {
	v.at = p
	return v
}

// A front that sends a visitor anywhere shows no stale copy: the request goes on to the session's home.
func TestPeersForwardToHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, p := family(f, "a1", "a2", "a3")
		v := p[0].visitor()
		for i := range 30 {
			v.through(p[i%3]).must(map[bool]string{true: `{}`, false: fmt.Sprintf(`{"n":%d}`, i-1)}[i == 0])
			v.get(patch(fmt.Sprintf(`{"n":%d}`, i)))
		}
		if p[1].counted("session_events_total", "forwarded") == 0 || p[0].counted("session_events_total", "released") != 0 {
			t.Error("the home moved")
		}
		if v.parsed().Route != "a1" {
			t.Errorf("the session lives at %s", v.parsed().Route)
		}
	})
}

// Requests of one session at two sidecars at once: each takes over from the other, and nothing is lost.
func TestPeersParallelRequestsLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"base":1}`))
		id := v.id()
		acked := make([]bool, 40)
		var requests sync.WaitGroup
		for i := range acked {
			requests.Go(func() {
				a := p[i%2].visitor().take(id).get(patch(fmt.Sprintf(`{"k%d":1}`, i)))
				acked[i] = a.StatusCode == 200
			})
		}
		requests.Wait()
		ok := 0
		for _, reader := range p {
			session := reader.visitor().take(id).session()
			for i := range acked {
				if acked[i] && !strings.Contains(session, fmt.Sprintf(`"k%d":1`, i)) {
					t.Errorf("k%d is lost in %s", i, session)
				}
			}
		}
		for _, a := range acked {
			if a {
				ok++
			}
		}
		if ok < len(acked)*9/10 {
			t.Errorf("only %d of %d were kept", ok, len(acked))
		}
	})
}

// A commit that finds itself fenced hands its record to the new owner before the client is answered (K6).
func TestPeersHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		id := v.id()
		do, arrived, goOn := held(patch(`{"late":1}`))
		done := make(chan *answer)
		go func() { done <- p[0].visitor().take(id).get(do) }()
		<-arrived
		// a2 cannot reach a1: it fences it and takes over; a1 can reach a2.
		l.set(func() { l.cut["a2>a1"] = true })
		other := p[1].visitor().take(id)
		other.get(patch(`{"n":2}`))
		close(goOn)
		if a := <-done; a.StatusCode != 200 {
			t.Fatalf("the late commit: %d %s", a.StatusCode, a.token())
		}
		for _, want := range []string{`"n":2`, `"late":1`} {
			if got := other.session(); !strings.Contains(got, want) {
				t.Errorf("a2 serves %s, without %s", got, want)
			}
		}
	})
}

// K9: an owner that neither answers nor refuses is fenced through the ring. It trusts its memory no more by then, and shows no stale copy.
func TestPeersFenceASilentOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		old := v.id()
		l.set(func() { l.cut["a2>a1"], l.cut["a1>a2"] = true, true })
		start := time.Now()
		v.through(p[1]).must(`{"n":1}`)
		v.get(patch(`{"n":2}`))
		if took := time.Since(start); took < time.Second || took > 3*time.Second {
			t.Errorf("the takeover took %v", took)
		}
		if got := p[0].visitor().take(old).session(); got == `{"n":1}` {
			t.Errorf("the fenced owner serves %s", got)
		}
		w := p[0].visitor()
		w.get(patch(`{"m":1}`))
		start = time.Now()
		w.through(p[1]).must(`{"m":1}`)
		if took := time.Since(start); took > 700*time.Millisecond {
			t.Errorf("the second takeover of the same incident waited again: %v", took)
		}
	})
}

func TestPeersRefusedIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		p[0].kill()
		l.set(func() { l.dead["a1"] = true })
		start := time.Now()
		v.through(p[1]).must(`{"n":1}`)
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// Before a session is called lost every peer is asked: one may have it in memory, though no node has.
func TestPeersAreAskedBeforeASessionIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2", "a3")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		for _, n := range f.nodes {
			n.restart()
		}
		v.through(p[2]).must(`{"n":1}`)

		w := p[0].visitor()
		w.get(patch(`{"n":1}`))
		l.set(func() { l.cut["a3>a2"] = true })
		p[0].kill()
		l.set(func() { l.dead["a1"] = true })
		for _, n := range f.nodes {
			n.restart()
		}
		if a := w.through(p[2]).get(nil); a.StatusCode != 503 {
			t.Errorf("with a silent peer: %d", a.StatusCode)
		}
		l.set(func() { l.cut["a3>a2"] = false })
		w.must(`{}`)
	})
}

// K11: a session destroyed at one sidecar is not served from another one's memory, also when that one owns it.
func TestPeersDestroyIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		_, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		id := v.id()
		do, arrived, goOn := held(op("destroy"))
		done := make(chan struct{})
		go func() { p[1].visitor().take(id).get(do); close(done) }()
		<-arrived
		p[0].visitor().take(id).must(`{"n":1}`) // a1 owns it again
		close(goOn)
		<-done
		for _, at := range p {
			if got := at.visitor().take(id).session(); got != `{}` {
				t.Errorf("%s serves %s", at.setup.Route, got)
			}
		}
	})
}

// severable is a connection that breaks when the network does.
type severable struct {
	net.Conn
	isCut *atomic.Bool
}

func (s severable) Write(b []byte) (int, error) {
	if s.isCut.Load() {
		return 0, syscall.EPIPE
	}
	return s.Conn.Write(b)
}

// severable dials nodes for a sidecar that alone cannot reach one of them while that is cut.
func (f *fleet) severable(n *node, isCut *atomic.Bool) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := f.dialNode(ctx, network, address)
		switch {
		case err != nil || address != n.name+".test:11211":
			return conn, err
		case isCut.Load():
			conn.Close()
			return nil, syscall.ECONNREFUSED
		}
		return severable{conn, isCut}, nil
	}
}

// K11 in shared mode: the sidecar that ends a session cannot reach the node where another one reads it.
func TestPeersBringATombstoneToAnUnreachableNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l := &links{to: map[string]*process{}}
		var isCut atomic.Bool
		var p []*process
		for _, route := range []string{"a1", "a2"} {
			p = append(p, f.sidecar(route, func(s *setup) {
				s.Call = l.caller(route)
				if route == "a1" {
					s.ring.Dial = f.severable(f.nodes[0], &isCut)
				}
			}))
			l.set(func() { l.to[route] = p[len(p)-1] })
		}
		for _, q := range p {
			q.SetPeers(map[string]string{"a1": "a1:80", "a2": "a2:80"})
		}
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		for v.parsed().Node != "n1" {
			v = p[0].visitor()
			v.get(patch(`{"n":1}`))
		}
		isCut.Store(true)
		other := p[1].visitor().take(v.id())
		v.get(op("destroy"))
		if got := other.session(); got != `{}` {
			t.Errorf("a2 shows %s, which was destroyed", got)
		}
	})
}

// A visitor cannot forge a forwarded request, nor choose where one goes; what the home is told of the client is what the first sidecar saw.
func TestPeersForwardedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		v.through(p[1])
		a := v.get(nil, "Cookie", "theme=dark", "Pillion-Hop", `from="a2", to="a1", t=@1, n=:AAAAAAAAAAAAAAAA:, mac=:AAAA:`, "X-Forwarded-For", "198.51.100.9")
		if a.app == nil || a.app.session() != `{"n":1}` {
			t.Fatalf("the app was given %v", a.app)
		}
		for name, want := range map[string]string{"Pillion-Hop": "", "X-Forwarded-For": "192.0.2.80", "X-Forwarded-Host": "shop.test", "Cookie": "theme=dark"} {
			if got := a.app.Header.Get(name); got != want && !(name == "X-Forwarded-For" && !strings.Contains(got, "198.51.100.9") && !strings.Contains(got, ",")) {
				t.Errorf("%s: the app got %q, want %q", name, got, want)
			}
		}
		if p[1].counted("session_events_total", "forwarded") == 0 {
			t.Error("nothing was forwarded")
		}
		// A patch and a logout through the other sidecar, and a body.
		if a := v.get(patch(`{"m":2}`)); a.StatusCode != 200 {
			t.Errorf("a patch: %d", a.StatusCode)
		}
		v.must(`{"m":2,"n":1}`)
		v.get(op("destroy"))
		if v.id() != "" {
			t.Error("the cookie survives a forwarded logout")
		}
		// The home dies within the second that it counts as alive.
		w := p[0].visitor()
		w.get(patch(`{"k":1}`))
		w.through(p[1]).must(`{"k":1}`)
		p[0].kill()
		l.set(func() { l.dead["a1"] = true })
		w.must(`{"k":1}`)
		if got := w.parsed().Route; got != "a2" {
			t.Errorf("the session lives at %s", got)
		}
	})
}

// A call that no sidecar of the fleet made for this one, now, is a 404: forged, altered, misaddressed, repeated or late.
func TestPeersTrustNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2)
		l, p := family(f, "a1", "a2")
		v := p[0].visitor()
		v.get(patch(`{"n":1}`))
		v.through(p[1]).must(`{"n":1}`)
		var real call
		l.set(func() { real = l.calls[0] })
		if real.to != "a1" {
			t.Fatalf("the first call went to %s", real.to)
		}
		check := func(what string, at *process, target, proof string, body []byte) {
			t.Helper()
			if _, ok := at.Peer(t.Context(), target, proof, body); ok {
				t.Errorf("%s: accepted", what)
			}
		}
		check("repeated", p[0], real.target, real.proof, real.body)
		wait(2 * time.Second) // a1 no longer counts as alive
		l.set(func() { l.calls, l.dead["a1"] = nil, true })
		v.must(`{"n":1}`)
		l.set(func() { real = l.calls[0] }) // new and right, and a1 never saw it
		proof := real.proof
		check("altered body", p[0], real.target, proof, append([]byte{1}, real.body...))
		check("other call", p[0], sidecar.PeerPath+"tell", proof, real.body)
		check("misaddressed", p[1], real.target, proof, real.body)
		check("no proof", p[0], real.target, "", real.body)
		check("garbage", p[0], real.target, `from="a2", to="a1"`, real.body)
		wait(time.Minute)
		check("late", p[0], real.target, proof, real.body)
	})
}
