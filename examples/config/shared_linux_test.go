package config_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const shared = "shared.yaml"

// TestShared shows msm's sticky="false": any sidecar serves any session, and a node more or less costs nothing.
func TestShared(t *testing.T) {
	s := start(t, shared)
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	if got := s.copies(v); got != "n1:1 n2:1" {
		t.Errorf("with the answer the nodes hold %s, want 1 on both", got)
	}
	s.same(v)
	v.reads(s.m21, 1)
	v.counts(s.m21, 2)
	v.reads(s.m20, 2)

	s.m20.node.kill()
	for count := 3; count < 13; count += 2 {
		v.reads(s.m20, count-1)
		v.counts(s.m20, count)
		v.reads(s.m21, count)
		v.counts(s.m21, count+1)
	}
	s.wants(v, "n1:down n2:12")

	s.m20.node.start(t)
	if got := s.copies(v); got != "n1:- n2:12" {
		t.Errorf("at first the nodes hold %s, want nothing on n1", got)
	}
	eventually(t, "reading refills n1", func() bool { v.reads(s.m20, 12); return s.copies(v) == "n1:12 n2:12" })
	s.same(v)
	v.counts(s.m21, 13) // perhaps on n2 alone: each sidecar finds out for itself that n1 is back
	eventually(t, "reading brings n1 up to date", func() bool { v.reads(s.m20, 13); return s.copies(v) == "n1:13 n2:13" })
	v.counts(s.m20, 14)
	if got := s.copies(v); got != "n1:14 n2:14" {
		t.Errorf("with the answer the nodes hold %s, want 14 on both", got)
	}
}

// TestBackupBeforeReply shows sessionBackupAsync="false": an answer waits for both nodes, but not longer than ring.op_timeout for one
// that is silent when the other has acknowledged.
func TestBackupBeforeReply(t *testing.T) {
	const opTimeout = 400 * time.Millisecond
	s := start(t, shared, "--ring-op-timeout="+opTimeout.String(), "--commit-timeout=5s")
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	named, silent := s.m20.node, s.m21.node
	if v.id().Node == silent.name {
		named, silent = silent, named
	}

	silent.freeze(t)
	a := v.counts(s.m20, 2)
	if got := s.holds(named, v); got != "2" {
		t.Errorf("%s acknowledged and holds %s, want 2", named.name, got)
	}
	if a.took < opTimeout || a.took > 3*opTimeout {
		t.Errorf("the answer took %v, want ring.op_timeout, %v", a.took, opTimeout)
	}
	v.named(named, "")
	silent.thaw()
	v.counts(s.m20, 3)
	s.wants(v, "n1:3 n2:3")

	// The node of the id itself: the lock and the session are looked for on it first, the other takes over, and the id says so.
	named.freeze(t)
	v.counts(s.m20, 4)
	v.named(silent, "")
	if got := s.holds(silent, v); got != "4" {
		t.Errorf("%s acknowledged and holds %s, want 4", silent.name, got)
	}
	named.thaw()
}

// TestHiccup: a node that was silent for one write and never down holds an older copy. It is brought up to date without a request,
// so that the other node may go.
func TestHiccup(t *testing.T) {
	s := start(t, shared)
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	named, silent := s.m20.node, s.m21.node
	if v.id().Node == silent.name {
		named, silent = silent, named
	}
	silent.freeze(t)
	v.counts(s.m20, 2)
	silent.thaw()
	s.wants(v, "n1:2 n2:2")
	named.kill()
	v.reads(s.m20, 2)
	v.reads(s.m21, 2)
}

// TestLockingMode shows lockingMode="auto". Writers of one session exclude each other, on both machines together: increments of one
// attribute lose nothing. Readers wait for nobody.
func TestLockingMode(t *testing.T) {
	s := start(t, shared)
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	t.Run("writers", func(t *testing.T) {
		counted := 1
		for _, a := range s.together(v, 4, "/counter?delay=30ms") {
			switch {
			case a.status == http.StatusOK:
				counted++
			case a.status != http.StatusServiceUnavailable || !strings.Contains(a.header.Get("Proxy-Status"), "error=lock_"):
				t.Errorf("%d %s", a.status, a.header.Get("Proxy-Status"))
			}
		}
		if counted < 3 {
			t.Errorf("%d requests were counted, want nearly all of them", counted-1)
		}
		v.reads(s.m20, counted)
		v.reads(s.m21, counted)
	})
	t.Run("readers", func(t *testing.T) {
		v.get(s.m20, "/meet?of=1") // as every path, it counts as a writer until it was seen
		v.get(s.m21, "/meet?of=1")
		for _, a := range s.together(v, 2, "/meet?of=2") {
			a.met(t)
		}
	})
	t.Run("a reader beside a writer", func(t *testing.T) {
		var both sync.WaitGroup
		both.Go(func() { v.ask(s.m20, "/meet/writing?of=2").met(t) })
		both.Go(func() { v.ask(s.m20, "/meet?of=2").met(t) })
		both.Wait()
	})
}

// met checks that the app had this request and another at once.
func (a answer) met(t *testing.T) {
	t.Helper()
	if a.body != "met" {
		t.Errorf("%d %s %s", a.status, a.body, a.header.Get("Proxy-Status"))
	}
}

// together sends the same request n times to each machine, all at once.
func (s *site) together(v *visitor, n int, target string) []answer {
	answers := make([]answer, 2*n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { answers[i] = v.ask(s.m20, target) })
		all.Go(func() { answers[n+i] = v.ask(s.m21, target) })
	}
	all.Wait()
	return answers
}

// TestLockNone is the same without the lock, so that the test of the lock proves something: increments that start from one value.
func TestLockNone(t *testing.T) {
	s := start(t, shared, "--lock=none")
	v := &visitor{t: t}
	v.counts(s.m20, 1)
	s.together(v, 4, "/counter?delay=200ms")
	if a := v.get(s.m20, "/get"); a.body == `{"count":`+strconv.Itoa(1+8)+`}` {
		t.Error("parallel increments lose nothing without a lock: what does the lock do?")
	}
}
