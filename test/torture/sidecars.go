package main

import (
	"sync"
	"syscall"
	"time"
)

// sidecarKilled: kill -9 of one sidecar under load, and its return.
func sidecarKilled(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, 4*time.Millisecond, counting)
	t.wait(2 * time.Second)
	t.sidecars[0].kill()
	t.wait(4 * time.Second)
	t.restart(t.sidecars[0])
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
}

// homeAndNodeKilled: one sidecar and one node die at the same moment under load, and come back empty. What each commit policy promises differs here:
// what only that node had, or nothing but memory, is gone.
func homeAndNodeKilled(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, 4*time.Millisecond, counting)
	t.wait(2 * time.Second)
	t.sidecars[0].kill()
	t.nodes[1].kill()
	t.wait(3 * time.Second)
	t.restart(t.nodes[1])
	t.restart(t.sidecars[0])
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
}

// sidecarFrozen: SIGSTOP of one sidecar under load. The front gives up after half a second and sends its visitors to the other one, which
// must not serve what the frozen one may still change; thawed, that one must not serve what it no longer owns.
func sidecarFrozen(t *trial) {
	t.front.timeout = 500 * time.Millisecond
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	t.sidecars[0].freeze()
	t.pause(3 * time.Second)
	t.sidecars[0].thaw()
	t.wait(5 * time.Second)
	stop()
	t.front.timeout = patience
	t.audit(all)
}

// sidecarsRolled: SIGTERM and restart of both sidecars under load, one after the other: a deployment.
func sidecarsRolled(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	for _, s := range t.sidecars {
		t.wait(3 * time.Second)
		t.try(s.leave(syscall.SIGTERM))
		t.restart(s)
	}
	t.wait(3 * time.Second)
	stop()
	t.audit(all)
}

// roundRobin: the front takes turns although sessions are sticky, and every request comes to the wrong sidecar.
func roundRobin(t *trial) {
	all := t.visitors(20)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	t.wait(8 * time.Second)
	stop()
	if t.proxy != nil {
		t.say("through nginx")
	}
	t.front.through = ""
	t.audit(all)
}

// logouts: each visitor logs out while another request of its own is with the app, which then changes the session that is gone.
func logouts(t *trial) {
	for range t.count(300, 40) {
		v := newVisitor(t)
		v.increment("count", "")
		cookie := v.cookie
		var both sync.WaitGroup
		both.Go(func() { v.send("POST", "/counter?k=late&delay=15") })
		t.pause(time.Duration(t.rand.IntN(20)) * time.Millisecond)
		out := newVisitor(t) // the same browser; what the late answer sets is looked at too
		out.cookie = cookie
		_, outcome := out.send("POST", "/logout")
		both.Wait()
		if outcome != acknowledged {
			continue
		}
		for _, s := range t.sidecars {
			v.expectEnded(s.address, cookie, cookie)
			v.expectEnded(s.address, cookie, v.cookie)
		}
	}
}
