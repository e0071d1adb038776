package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rawNode speaks memcached's protocol to a node of the demo, past every client of ours.
type rawNode struct {
	t       *testing.T
	address string
}

func (f *demoFleet) node(name string) rawNode { return rawNode{f.t, f.part(name).address} }

// ask sends a command and returns the lines of its answer up to END, or the first one when that says all.
func (n rawNode) ask(command string) []string {
	n.t.Helper()
	conn, err := net.DialTimeout("tcp", n.address, patience)
	if err != nil {
		n.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "%s\r\n", command)
	var answer []string
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			n.t.Fatalf("%.40q: %v", command, err)
		}
		switch line = strings.TrimRight(line, "\r\n"); {
		case line == "END":
			return answer
		case line == "STORED":
			return []string{line}
		case strings.HasPrefix(line, "VALUE "):
			size, _ := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:])
			value := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(r, value); err != nil {
				n.t.Fatal(err)
			}
			line = string(value[:size])
		case strings.Contains(line, "ERROR"):
			n.t.Fatalf("%.40q: %s", command, line)
		}
		answer = append(answer, line)
	}
}

// stat is one of the node's own statistics.
func (n rawNode) stat(name string) int {
	n.t.Helper()
	for _, line := range n.ask("stats") {
		if value, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			count, _ := strconv.Atoi(value)
			return count
		}
	}
	n.t.Fatalf("the node has no statistic %s", name)
	return 0
}

// keys is what the node's crawler lists.
func (n rawNode) keys() map[string]bool {
	n.t.Helper()
	keys := map[string]bool{}
	for _, line := range n.ask("lru_crawler metadump all") {
		escaped, _, _ := strings.Cut(strings.TrimPrefix(line, "key="), " ")
		key, err := url.PathUnescape(escaped)
		if err != nil {
			n.t.Fatalf("%q: %v", line, err)
		}
		keys[key] = true
	}
	return keys
}

// flip turns one bit of a stored blob; at is its place, from 0 to 1.
func (n rawNode) flip(key string, at float64) {
	n.t.Helper()
	values := n.ask("get " + key)
	if len(values) != 1 {
		n.t.Fatalf("%s is not on %s", key, n.address)
	}
	blob := []byte(values[0])
	blob[int(at*float64(len(blob)-1))] ^= 1 << 3
	if answer := n.ask(fmt.Sprintf("set %s 0 0 %d\r\n%s", key, len(blob), blob)); answer[0] != "STORED" {
		n.t.Fatalf("set: %q", answer)
	}
}
