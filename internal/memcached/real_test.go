package memcached

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// real is a memcached of its own process.
type real struct {
	t    testing.TB
	Addr string // host:port, or the path of a socket
	args []string
	cmd  *exec.Cmd
}

// startReal runs the real memcached; without one the test is skipped, but fails in CI.
func startReal(t testing.TB, args ...string) *real {
	t.Helper()
	address := freeAddress(t)
	_, port, _ := net.SplitHostPort(address)
	return startAt(t, address, append([]string{"-l", "127.0.0.1", "-p", port, "-U", "0"}, args...))
}

func startSocket(t testing.TB, path string) *real {
	t.Helper()
	return startAt(t, path, []string{"-s", path})
}

func startAt(t testing.TB, address string, args []string) *real {
	t.Helper()
	if _, err := exec.LookPath("memcached"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("memcached is not installed")
		}
		t.Skip("memcached is not installed")
	}
	r := &real{t: t, Addr: address, args: args}
	r.Start()
	t.Cleanup(r.Kill)
	return r
}

func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Start runs it, empty, at its address.
func (r *real) Start() {
	r.t.Helper()
	args := append([]string{"-t", "1", "-m", "32"}, r.args...)
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	r.cmd = exec.Command("memcached", args...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "memcached listens", func() bool {
		conn, err := r.dial()
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

func (r *real) dial() (net.Conn, error) {
	if strings.Contains(r.Addr, "/") {
		return net.Dial("unix", r.Addr)
	}
	return net.Dial("tcp", r.Addr)
}

// Kill is kill -9.
func (r *real) Kill() {
	if r.cmd == nil {
		return
	}
	r.cmd.Process.Kill()
	_ = r.cmd.Wait()
	r.cmd = nil
}

// Freeze is SIGSTOP; it returns when every thread has stopped.
func (r *real) Freeze() {
	r.t.Helper()
	r.cmd.Process.Signal(syscall.SIGSTOP)
	eventually(r.t, "memcached stands still", func() bool {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", r.cmd.Process.Pid))
		return !slices.ContainsFunc(tasks, func(task string) bool {
			stat, _ := os.ReadFile(task)
			return !strings.Contains(string(stat), ") T ")
		})
	})
}

// Thaw is SIGCONT.
func (r *real) Thaw() { r.cmd.Process.Signal(syscall.SIGCONT) }

// Command sends one line and returns the answer up to a line that begins with end.
func (r *real) Command(line, end string) []string {
	r.t.Helper()
	conn, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(conn, "%s\r\n", line)
	var lines []string
	for scan := bufio.NewScanner(conn); scan.Scan(); {
		lines = append(lines, scan.Text())
		if strings.HasPrefix(scan.Text(), end) {
			return lines
		}
	}
	r.t.Fatalf("%q: no answer", line)
	return nil
}

func (r *real) Flush() { r.Command("flush_all", "OK") }

// Stat is one of its counters.
func (r *real) Stat(name string) int {
	for _, line := range r.Command("stats", "END") {
		if value, ok := strings.CutPrefix(line, "STAT "+name+" "); ok {
			n, _ := strconv.Atoi(value)
			return n
		}
	}
	r.t.Fatalf("no stat %s", name)
	return 0
}

// Operations counts the gets and the writes it was asked so far.
func (r *real) Operations() (gets, writes int) { return r.Stat("cmd_get"), r.Stat("cmd_set") }

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not in 10 s: %s", what)
}
