package main

import (
	"fmt"
	"time"
)

// nodeAnother: at the address of n1 there is another memcached than before: first that of n2, then an empty one.
func nodeAnother(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	for _, node := range t.nodes[1:] {
		t.wait(3 * time.Second)
		t.link.lead(node.address)
		t.wait(5 * time.Second)
		if !eventually(patience, func() bool { return t.metric(`pillion_node_up{node="n1"}`) == len(t.sidecars) }) {
			t.problem("n1 is not used any more since it is %s", node.name)
		}
	}
	stop()
	t.audit(all)
}

// ringsDiffer: a1 knows n1 and n2, a2 knows n2 and n3. They meet at n2. In shared mode what n2 and n1 took is out of a2's sight when n2 pauses, and
// its own copy on n3 seems as good: on a busy machine that loses changes.
func ringsDiffer(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	t.wait(3 * time.Second)
	t.nodes[0].kill()
	t.wait(3 * time.Second)
	t.restart(t.nodes[0])
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
}

// grace is session.renew_grace in idsReplayed.
const grace = 2 * time.Second

// idsReplayed: somebody goes on showing ids from before a renewal, and from before a logout, while a node is killed and comes back empty.
func idsReplayed(t *trial) {
	type person struct {
		*visitor
		old string
	}
	var all []person
	for i := range t.count(200, 30) {
		p := person{visitor: newVisitor(t)}
		p.increment("count", "")
		p.old = p.cookie
		_, outcome := p.send("POST", fmt.Sprintf("/login?user=u%d", i))
		thief := newVisitor(t)
		thief.cookie = p.old
		if _, stolen := thief.send("POST", "/counter?k=late"); outcome == acknowledged && stolen == acknowledged {
			t.problem("an id from before a renewal changed the session")
		}
		if outcome == acknowledged {
			all = append(all, p)
		}
	}
	t.nodes[0].kill()
	t.pause(grace + 1500*time.Millisecond)
	t.restart(t.nodes[0])
	for _, p := range all {
		for _, s := range t.sidecars {
			p.expectEnded(s.address, p.old, p.old)
		}
	}
	for _, p := range all {
		last := p.cookie
		if _, outcome := p.send("POST", "/logout"); outcome != acknowledged {
			continue
		}
		for _, s := range t.sidecars {
			p.expectEnded(s.address, last, last)
			p.expectEnded(s.address, p.old, p.old)
		}
	}
}

// frontsKilled: kill -9 of a front, of the control plane, and of the other front, each back after a while. What was under way at a front fails.
func frontsKilled(t *trial) {
	if !eventually(patience, func() bool { a, err := t.front.send("GET", "/get", ""); return err == nil && a.status == 200 }) {
		t.problem("the fronts do not serve")
		return
	}
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	for _, p := range []*process{t.fronts[0], t.plane, t.fronts[1]} {
		t.wait(2 * time.Second)
		p.kill()
		t.wait(3 * time.Second)
		t.restart(p)
	}
	t.wait(3 * time.Second)
	stop()
	t.audit(all)
}
