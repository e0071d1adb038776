package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// node is a real memcached.
type node struct {
	*process
	address string
}

func (l *lab) startNode() (*node, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64", "-t", "2"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	p, err := l.start("memcached", args...)
	if err != nil {
		return nil, err
	}
	return &node{p, address}, p.listens(address)
}

// startNodes starts two, as everything here uses them.
func (l *lab) startNodes() ([]*node, error) {
	var nodes []*node
	for range 2 {
		n, err := l.startNode()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// operations are what memcached was asked: cmd_get counts get and gets, cmd_set counts set, add and cas, whether they succeeded or not.
type operations struct{ gets, writes int64 }

func (o operations) since(before operations) operations {
	return operations{o.gets - before.gets, o.writes - before.writes}
}

func (o operations) plus(more operations) operations {
	return operations{o.gets + more.gets, o.writes + more.writes}
}

// asked sums the counters of nodes.
func asked(nodes []*node) (operations, error) {
	var sum operations
	for _, n := range nodes {
		stats, err := n.stats()
		if err != nil {
			return operations{}, err
		}
		sum = sum.plus(operations{stats["cmd_get"], stats["cmd_set"] + stats["cmd_touch"] + stats["cmd_delete"]})
	}
	return sum, nil
}

// stats are the counters of a node. Deletions are summed from their hits and misses.
func (n *node) stats() (map[string]int64, error) {
	c, err := n.dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := fmt.Fprint(c, "stats\r\n"); err != nil {
		return nil, err
	}
	stats := map[string]int64{}
	lines := bufio.NewScanner(c)
	for lines.Scan() && lines.Text() != "END" {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 {
			stats[fields[1]], _ = strconv.ParseInt(fields[2], 10, 64) // some are no whole numbers, and not asked for
		}
	}
	stats["cmd_delete"] = stats["delete_hits"] + stats["delete_misses"]
	return stats, lines.Err()
}

// store puts the same value at each key.
func (n *node) store(keys []string, value string) error {
	c, err := n.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	answers := bufio.NewReader(c)
	for _, key := range keys {
		if _, err := fmt.Fprintf(c, "set %s 0 0 %d\r\n%s\r\n", key, len(value), value); err != nil {
			return err
		}
		if line, err := answers.ReadString('\n'); err != nil || line != "STORED\r\n" {
			return fmt.Errorf("memcached: set: %q, %w", line, err)
		}
	}
	return nil
}

func (n *node) dial() (net.Conn, error) {
	c, err := net.Dial("tcp", n.address)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(patience))
}
