package main

import "time"

// nodeLies: what comes back from n1 is late, half, garbage, damaged, of another session, or nothing at all; one after the other, with
// honest times in between.
func nodeLies(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	for _, lie := range []struct {
		name   string
		manner manner
	}{{"late", late}, {"half", half}, {"garbage", garbage}, {"damaged", toEach(damage)}, {"another session's", toEach(impostor)}, {"silent", silent}} {
		t.wait(2 * time.Second)
		before := t.link.touched.Load()
		t.link.become(lie.manner)
		t.wait(2 * time.Second)
		t.link.become(honest)
		t.say("%d answers %s", t.link.touched.Load()-before, lie.name)
		if !eventually(patience, t.ringIsUp) {
			t.problem("n1 is not believed again after its answers were %s", lie.name)
		}
	}
	stop()
	t.audit(all)
}

// nodeSlow: n1 is 20 ms away.
func nodeSlow(t *trial) {
	t.link.become(slow)
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(8 * time.Second)
	stop()
	t.audit(all)
}
