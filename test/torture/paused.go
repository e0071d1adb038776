package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// pauses lets one node after the other stand still for 50 to 600 ms, and new visitors act once each around that. A node is back and told what it
// missed before the next one pauses: act ends with a watch. In most rounds visitors are few, and act waits for the node before it watches: nothing
// but the canaries is asked meanwhile, so that a sidecar may not notice that the node was silent.
func (t *trial) pauses(act func(v *visitor, back func()) (acknowledged bool)) {
	var silent atomic.Bool
	var all, within atomic.Int32
	for round := range t.count(10, 2) {
		node, length := t.nodes[t.rand.IntN(len(t.nodes))], 50*time.Millisecond+time.Duration(t.rand.Int64N(int64(550*time.Millisecond)))
		visitors, before, back := t.count(40, 15), 100*time.Millisecond, func() {}
		thawed := make(chan struct{})
		if round%3 > 0 {
			visitors, before, back = 3, 0, func() { <-thawed }
		}
		var acts sync.WaitGroup
		for _, v := range t.visitors(visitors) {
			start := time.Duration(t.rand.Int64N(int64(length + 2*before)))
			acts.Go(func() {
				t.pause(start)
				asked := silent.Load()
				if act(v, back) {
					all.Add(1)
					if asked {
						within.Add(1)
					}
				}
			})
		}
		t.pause(before)
		node.freeze()
		silent.Store(true)
		t.pause(length)
		silent.Store(false)
		node.thaw()
		close(thawed)
		acts.Wait()
		if !eventually(patience, t.ringIsUp) {
			t.problem("%s does not come back", node.name)
		}
	}
	t.say("%d were acknowledged, %d of them asked for while a node was silent", all.Load(), within.Load())
}

// watched is how long after the end of a session somebody goes on asking for it.
func (t *trial) watched() time.Duration {
	if t.short {
		return 300 * time.Millisecond
	}
	return 3 * time.Second
}

// logoutsPaused: visitors log out while a node pauses, and somebody shows their cookies at once to every sidecar in turn.
func logoutsPaused(t *trial) {
	t.pauses(func(v *visitor, back func()) bool {
		last := v.cookie
		if _, outcome := v.send("POST", "/logout"); outcome != acknowledged {
			return false
		}
		back()
		for end := time.Now().Add(t.watched()); time.Now().Before(end); t.pause(20 * time.Millisecond) {
			if !v.isEnded(last) {
				t.rise()
				return true
			}
		}
		for _, s := range t.sidecars {
			v.expectEnded(s.address, last, last)
		}
		return true
	})
}

// isEnded shows the cookie of an ended session to every sidecar. One that cannot tell shows nothing.
func (v *visitor) isEnded(last string) bool {
	for _, s := range v.t.sidecars {
		if a, err := v.t.front.sendTo(s.address, "GET", "/get", last); err == nil && a.status == 200 && v.t.showsOld(a.body, true) {
			return false
		}
	}
	return true
}

// renewalsPaused: visitors log in while a node pauses, which renews their ids, and somebody goes on with the old ones. These may show what was
// there before the renewal until the grace is over, and change nothing.
func renewalsPaused(t *trial) {
	var mu sync.Mutex
	var all []*visitor
	t.pauses(func(v *visitor, back func()) bool {
		old := v.cookie
		if _, outcome := v.send("POST", "/login?user=somebody"); outcome != acknowledged {
			return false
		}
		mu.Lock()
		all = append(all, v)
		mu.Unlock()
		over := time.Now().Add(grace)
		back()
		for asked := time.Now(); asked.Before(over.Add(t.watched())); asked = time.Now() {
			if asked.After(over) && !v.isEnded(old) {
				t.rise()
				break
			}
			if v.changes(old) {
				t.problem("an id from before a renewal changed the session %v after it", grace+time.Until(over))
				break
			}
			t.pause(50 * time.Millisecond)
		}
		for _, s := range t.sidecars {
			v.expectEnded(s.address, old, old)
		}
		return true
	})
	t.audit(all)
}

// changes tells whether an id from before a renewal could change its session, through any sidecar. After the grace it is nobody's: a new session
// begins.
func (v *visitor) changes(old string) bool {
	for _, s := range v.t.sidecars {
		a, err := v.t.front.sendTo(s.address, "POST", "/counter?k=late", old)
		if err != nil || a.status != 200 {
			continue
		}
		thief := newVisitor(v.t)
		thief.keep(a)
		if thief.cookie == "" || sameSession(thief.cookie, old) || sameSession(thief.cookie, v.cookie) {
			return true
		}
	}
	return false
}
