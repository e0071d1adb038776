package main

import (
	"fmt"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
)

// ringFrozen: no node answers for 3 s, and all come back as they were. No session may change its name.
func ringFrozen(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	for _, node := range t.nodes {
		node.freeze()
	}
	t.wait(3 * time.Second)
	for _, node := range t.nodes {
		node.thaw()
	}
	t.wait(5 * time.Second)
	stop()
	t.audit(all)
	if t.renamed > 0 {
		t.problem("%d cookies were given up for another session's", t.renamed)
	}
}

// ringEmptied: every node is killed and comes back empty. In shared mode nobody else has the sessions: they are lost, which must be
// counted, and once the nodes are back every visitor must be served, without the old session.
func ringEmptied(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	for _, node := range t.nodes {
		node.kill()
	}
	t.wait(3 * time.Second)
	for _, node := range t.nodes {
		t.restart(node)
	}
	back := time.Now()
	if !eventually(patience, t.ringIsUp) {
		t.problem("the nodes do not come back")
	}
	t.say("the nodes were in use again after %.1f s", time.Since(back).Seconds())
	if !t.quiet() {
		t.problem("answers are still 503 %v after all nodes were back", time.Since(back))
	}
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
	counted := t.metric(`pillion_session_events_total{event="lost"}`)
	t.say("pillion counted %d sessions as lost", counted)
	if t.renamed > counted {
		t.problem("%d sessions were replaced, %d counted as lost", t.renamed, counted)
	}
	if t.sticky() && t.lost+t.wentBack > 0 {
		t.problem("%d changes were lost although memory had them, %d answers went back", t.lost, t.wentBack)
	}
}

// quiet waits for half a second without any 503.
func (t *trial) quiet() bool {
	for range 8 {
		before := t.refusals()
		if t.pause(500 * time.Millisecond); t.refusals() == before {
			return true
		}
	}
	return false
}

func (t *trial) refusals() int { t.mu.Lock(); defer t.mu.Unlock(); return t.unavailable }

func (t *trial) ringIsUp() bool {
	for _, node := range t.nodes {
		if t.metric(`pillion_node_up{node="`+node.name+`"}`) != len(t.sidecars) {
			return false
		}
	}
	return true
}

// unknownFor is ring.unknown_for in expiredCookies.
const unknownFor = 2 * time.Second

// expiredCookies: one node dies, and visitors come with cookies of sessions that every node has forgotten long ago. They may be told 503
// for as long as the dead node might have known better, and no longer.
func expiredCookies(t *trial) {
	all := t.visitors(t.count(1000, 50))
	for _, s := range t.sidecars { // none of them remembers either
		s.kill()
		t.restart(s)
	}
	for _, v := range all {
		t.forget(v.cookie)
	}
	down := time.Now()
	t.nodes[0].kill()
	var last time.Duration
	stop := t.load(all, 10*think, func(v *visitor) {
		if a, _ := v.send("GET", "/get"); errorOf(a) == "ring_unknown" {
			t.mu.Lock()
			defer t.mu.Unlock()
			last = max(last, time.Since(down))
		}
	})
	t.pause(unknownFor + 1500*time.Millisecond)
	stop()
	t.say("last ring_unknown after %.1f s of %v", last.Seconds(), unknownFor)
	if last > unknownFor+time.Second {
		t.problem("503 still came %v after the node died; unknown_for is %v", last, unknownFor)
	}
	for _, v := range all { // they begin anew
		if a, outcome := v.send("POST", "/counter"); outcome != acknowledged {
			t.problem("no new session: %d %s", a.status, a.header.Get("Proxy-Status"))
		}
	}
}

// forget deletes a session from every node, as its expiry does.
func (t *trial) forget(cookie string) {
	id, err := ring.ParseID(cookie)
	t.try(err)
	for _, node := range t.nodes {
		if line, err := tell(node, "delete "+ring.StorageKey("torture", id.Random)); err != nil || line != "DELETED" && line != "NOT_FOUND" {
			t.try(fmt.Errorf("delete a session on %s: %q, %w", node.name, line, err))
		}
	}
}
