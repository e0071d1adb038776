package main

import "time"

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
		if !eventually(patience, func() bool { return t.metric(up) == 2 && t.metric(lives) >= 1 }) {
			t.problem("%s does not come back", node.name)
		}
		for _, v := range all {
			v.look()
		}
		if !eventually(patience, func() bool { n, err := items(node); return err == nil && n > len(all) }) {
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
