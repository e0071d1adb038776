package main

import (
	"fmt"
	"syscall"
	"time"
)

// nodeKilled: kill -9 of one node under load, back empty.
func nodeKilled(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	t.nodes[0].kill()
	t.wait(6 * time.Second)
	t.restart(t.nodes[0])
	t.wait(6 * time.Second)
	stop()
	t.audit(all)
}

// nodesInTurn: both nodes are restarted empty, one after the other, and each session is read once in between.
func nodesInTurn(t *trial) {
	all := t.visitors(50)
	for _, node := range t.nodes {
		node.kill()
		t.restart(node)
		up := `pillion_node_up{node="` + node.name + `"}`
		lives := `pillion_node_lives_total{node="` + node.name + `"}`
		if !eventually(patience, func() bool { return t.metric(up) == 2 && t.metric(lives) == 2 }) {
			t.problem("%s does not come back", node.name)
		}
		for _, v := range all {
			v.look()
		}
		if !eventually(patience, func() bool { n, err := stat(node, "curr_items"); return err == nil && n > len(all) }) {
			t.problem("%s is not refilled", node.name)
		}
	}
	t.audit(all)
}

// nodeFrozen: SIGSTOP of one node under load.
func nodeFrozen(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	t.nodes[0].freeze()
	t.wait(5 * time.Second)
	t.nodes[0].thaw()
	t.wait(5 * time.Second)
	stop()
	t.audit(all)
}

// nodesFlushed: flush_all of one node under load, and later of the other.
func nodesFlushed(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	for _, node := range t.nodes {
		t.wait(4 * time.Second)
		if line, err := tell(node, "flush_all"); err != nil || line != "OK" {
			t.try(fmt.Errorf("flush_all: %q, %w", line, err))
		}
	}
	t.wait(4 * time.Second)
	stop()
	t.audit(all)
}

// nodeEvicts: n1 has memory for a part of the sessions only, and evicts others all the time.
func nodeEvicts(t *trial) {
	all := t.visitors(t.count(2000, 400))
	for _, v := range all {
		v.send("POST", "/set?k=blob&v="+t.noise(6000))
	}
	for range 3 {
		for _, v := range all {
			v.increment("count", "")
		}
	}
	t.say("n1 holds %d of %d sessions", t.stat(t.nodes[0], "curr_items"), len(all))
	t.audit(all)
}

// noise is text that no compression makes smaller.
func (t *trial) noise(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	text := make([]byte, n)
	for i := range text {
		text[i] = letters[t.rand.IntN(len(letters))]
	}
	return string(text)
}

func (t *trial) stat(node *process, name string) int {
	n, err := stat(node, name)
	t.try(err)
	return n
}

// nodeCrowded: n1 takes fewer connections than the sidecars want.
func nodeCrowded(t *trial) {
	all := t.visitors(100)
	stop := t.load(all, 5*time.Millisecond, counting)
	t.wait(6 * time.Second)
	stop()
	failed := 0
	for _, op := range []string{"get", "add", "cas", "touch"} {
		failed += t.metric(fmt.Sprintf(`pillion_node_operations_total{node="n1",op=%q,result="error"}`, op))
	}
	t.say("n1 turned %d operations away", failed)
	t.audit(all)
}

// nodeWarm: n1 is restarted with the memory that it had (memcached -e): what was written meanwhile is on n2 alone.
func nodeWarm(t *trial) {
	all := t.visitors(50)
	stop := t.load(all, think, counting)
	t.wait(2 * time.Second)
	t.try(t.nodes[0].leave(syscall.SIGUSR1))
	t.wait(3 * time.Second)
	t.restart(t.nodes[0])
	t.wait(4 * time.Second)
	stop()
	t.say("n1 came back with %d items", t.stat(t.nodes[0], "curr_items"))
	t.audit(all)
}
