package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Sidecars run with groups of their own where a row cuts them off: the kernel can tell their packets apart by that.
var groups = []uint32{64101, 64102}

// wall drops packets between processes of this machine. Each trial has an nftables table of its own.
type wall struct{ table string }

// possible tells why a plan cannot be carried out here, "" when it can.
func (p plan) possible() string {
	if _, err := exec.LookPath("nft"); p.walled && (err != nil || os.Getuid() != 0) {
		return "cutting connections takes root and nft: on Debian and Ubuntu, sudo apt-get install nftables"
	}
	return ""
}

func nft(script string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w\n%s", err, out)
	}
	return nil
}

func newWall(name string) (*wall, error) {
	w := &wall{table: fmt.Sprintf("inet pillion_torture_%d_%s", os.Getpid(), strings.NewReplacer("-", "_", " ", "_", "/", "_").Replace(name))}
	return w, nft("table " + w.table + " {\n chain out {\n  type filter hook output priority 0; policy accept;\n }\n}\n")
}

// cut drops what a process of the group sends to a server.
func (w *wall) cut(group uint32, server *process) error {
	port := server.address[strings.LastIndexByte(server.address, ':')+1:]
	return nft(fmt.Sprintf("add rule %s out meta skgid %d tcp dport %s drop\n", w.table, group, port))
}

func (w *wall) open() error  { return nft("flush chain " + w.table + " out\n") }
func (w *wall) close() error { return nft("delete table " + w.table + "\n") }

// split: the network parts a1 from n1; a1 from n1 and a2 from n2; the sidecars from each other; and heals each time. Any two of them can
// still meet, at a node or directly, so nothing may be lost.
func split(t *trial) {
	t.front.timeout = time.Second
	all := t.visitors(50)
	stop := t.load(all, think, func(v *visitor) { v.increment("count", ""); v.look() })
	a1, a2, n1, n2 := t.sidecars[0], t.sidecars[1], t.nodes[0], t.nodes[1]
	type gap struct {
		group uint32
		to    *process
	}
	for _, gaps := range [][]gap{
		{{groups[0], n1}},
		{{groups[0], n1}, {groups[1], n2}},
		{{groups[0], a2}, {groups[1], a1}},
	} {
		t.wait(2 * time.Second)
		for _, g := range gaps {
			t.try(t.wall.cut(g.group, g.to))
		}
		t.wait(4 * time.Second)
		t.try(t.wall.open())
		if !eventually(patience, t.ringIsUp) {
			t.problem("the ring does not come back")
		}
	}
	t.wait(2 * time.Second)
	stop()
	t.front.timeout = patience
	t.audit(all)
}
