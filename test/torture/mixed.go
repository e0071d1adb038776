package main

import (
	"syscall"
	"time"
)

// mixed: every fault at random for half a minute, one at a time. Memory of both nodes is never emptied within the time that a visited
// session takes to be on two nodes again: that loses sessions, and is no fault of anybody here.
func mixed(t *trial) {
	t.front.timeout = 500 * time.Millisecond
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	duration := 30 * time.Second
	if t.short {
		duration = 3 * time.Second
	}
	for end := time.Now().Add(duration); time.Now().Before(end) && t.ctx.Err() == nil; {
		node, sidecar := t.nodes[t.rand.IntN(len(t.nodes))], t.sidecars[t.rand.IntN(len(t.sidecars))]
		length := 200*time.Millisecond + time.Duration(t.rand.Int64N(int64(2*time.Second)))
		switch t.rand.IntN(6) {
		case 0:
			t.say("%s killed", node.name)
			node.kill()
			t.pause(length)
			t.restart(node)
		case 1:
			t.say("%s frozen", node.name)
			node.freeze()
			t.pause(length)
			node.thaw()
		case 2:
			t.say("%s flushed", node.name)
			_, err := tell(node, "flush_all")
			t.try(err)
		case 3:
			t.say("%s killed", sidecar.name)
			sidecar.kill()
			t.pause(length)
			t.restart(sidecar)
		case 4:
			t.say("%s frozen", sidecar.name)
			sidecar.freeze()
			t.pause(length)
			sidecar.thaw()
		case 5:
			t.say("%s restarted", sidecar.name)
			t.try(sidecar.leave(syscall.SIGTERM))
			t.restart(sidecar)
		}
		if !eventually(patience, t.ringIsUp) {
			t.problem("the ring does not come back")
		}
		t.pause(1500 * time.Millisecond) // each session is visited, and on two nodes again
	}
	stop()
	t.front.timeout = patience
	t.audit(all)
}
