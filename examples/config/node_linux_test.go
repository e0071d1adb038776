package config_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// node is the memcached of a machine, on its address and memcached's own port.
type node struct {
	name    string
	on      *machine
	process *process
}

func (n *node) address() string { return net.JoinHostPort(n.on.address, "11211") }

// start runs it, empty. One worker thread, so that what it reports it did comes in order.
func (n *node) start(t *testing.T) {
	t.Helper()
	n.process = n.on.run(t, exec.Command("memcached", "-l", n.on.address, "-p", "11211", "-U", "0", "-t", "1", "-m", "32", "-u", "root"))
	eventually(t, n.name+" listens", func() bool { _, err := n.ask("version", "VERSION"); return err == nil })
}

func (n *node) kill() { n.process.kill() }

// freeze is SIGSTOP; it returns when every thread has stopped.
func (n *node) freeze(t *testing.T) {
	t.Helper()
	pid := n.process.cmd.Process.Pid
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	eventually(t, n.name+" stands still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		return len(threads) > 0 && !slices.ContainsFunc(threads, func(thread string) bool {
			stat, _ := os.ReadFile(thread)
			return !strings.Contains(string(stat), ") T ")
		})
	})
}

// thaw is SIGCONT.
func (n *node) thaw() { _ = syscall.Kill(n.process.cmd.Process.Pid, syscall.SIGCONT) }

// dial connects to it as a machine of the network does.
func (n *node) dial() (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", n.address(), deadline)
	if err == nil {
		_ = conn.SetDeadline(time.Now().Add(2 * deadline))
	}
	return conn, err
}

// ask sends a command and returns the lines of the answer before the one that begins with end; BUSY is no answer.
func (n *node) ask(command, end string) (lines []string, err error) {
	conn, err := n.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", command)
	for scan := bufio.NewScanner(conn); scan.Scan() && !strings.HasPrefix(scan.Text(), "BUSY"); {
		if strings.HasPrefix(scan.Text(), end) {
			return lines, nil
		}
		lines = append(lines, scan.Text())
	}
	return nil, io.ErrUnexpectedEOF
}

// get returns the value under a key, nil when there is none.
func (n *node) get(key string) ([]byte, error) {
	conn, err := n.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "get %s\r\n", key)
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil || strings.HasPrefix(line, "END") {
		return nil, err
	}
	var size int
	if _, err := fmt.Sscanf(line, "VALUE "+key+" 0 %d", &size); err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	value := make([]byte, size)
	_, err = io.ReadFull(r, value)
	return value, err
}

// sessions lists the keys that it holds, of sessions and of their locks.
func (n *node) sessions(t *testing.T) (keys []string) {
	t.Helper()
	var items []string
	eventually(t, n.name+" lists its items", func() bool { // it may be busy with a listing of its own
		var err error
		items, err = n.ask("lru_crawler metadump all", "END")
		return err == nil
	})
	for _, item := range items {
		key, _, _ := strings.Cut(strings.TrimPrefix(item, "key="), " ")
		if key, _ = url.QueryUnescape(key); strings.HasPrefix(key, "p1:"+space+":") {
			keys = append(keys, key)
		}
	}
	return keys
}

// operations returns what the node was asked for while do ran, about sessions and their locks: the canaries that each sidecar reads
// twice a second are not among them.
func (n *node) operations(t *testing.T, do func()) (lines []string) {
	t.Helper()
	conn, err := n.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	log := bufio.NewScanner(conn)
	fmt.Fprint(conn, "watch fetchers mutations\r\n")
	if !log.Scan() || log.Text() != "OK" {
		t.Fatalf("%s: watch: %q", n.name, log.Text())
	}
	do()
	if _, err := n.get("end-of-test"); err != nil {
		t.Fatal(err)
	}
	for log.Scan() {
		switch line := log.Text(); {
		case strings.Contains(line, "key=end-of-test"):
			return lines
		case strings.Contains(line, "skipped="):
			t.Fatalf("%s: watch lost lines: %s", n.name, line)
		case !strings.Contains(line, "key=p1%3A%21life "):
			lines = append(lines, line)
		}
	}
	t.Fatalf("%s: watch ended: %v", n.name, log.Err())
	return nil
}
