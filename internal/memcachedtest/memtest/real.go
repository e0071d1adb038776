package memtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a process may take to start, or to answer.
const patience = 10 * time.Second

// Real is a memcached of its own process.
type Real struct {
	Addr string // host:port or unix:/path; it stays through a Restart
	Pid  int

	tb      testing.TB
	args    []string
	secure  bool
	process *exec.Cmd
	stderr  bytes.Buffer
	exited  chan struct{}
}

// StartReal runs the installed memcached with these arguments more, on a free port of the loopback address or, when they say
// `-s path`, on a Unix socket; with `-Z` over TLS. It returns when memcached answers. Where memcached is not installed the test is
// skipped, and fails in CI.
func StartReal(tb testing.TB, args ...string) *Real {
	tb.Helper()
	if _, err := exec.LookPath("memcached"); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatal("memcached is not installed: apt-get install memcached")
		}
		tb.Skip("memcached is not installed")
	}
	r := &Real{tb: tb, args: append([]string{"-U", "0", "-t", "2", "-m", "64"}, args...), secure: slices.Contains(args, "-Z")}
	if os.Getuid() == 0 {
		r.args = append(r.args, "-u", "root")
	}
	tb.Cleanup(r.Kill)
	if i := slices.Index(args, "-s"); i >= 0 {
		r.Addr = "unix:" + args[i+1]
		r.start("")
		return r
	}
	// memcached takes a free port itself and tells it in a file: nobody can take the port in between.
	ports := filepath.Join(tb.TempDir(), "ports")
	r.start(ports, "-l", "127.0.0.1", "-p", "-1")
	return r
}

// start runs memcached somewhere; ports, when not "", names the file in which it tells the port that it took.
func (r *Real) start(ports string, where ...string) {
	r.tb.Helper()
	cmd := exec.Command("memcached", append(where, r.args...)...)
	r.stderr.Reset()
	cmd.Stderr = &r.stderr
	if ports != "" {
		cmd.Env = append(os.Environ(), "MEMCACHED_PORT_FILENAME="+ports)
	}
	if err := cmd.Start(); err != nil {
		r.tb.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	r.process, r.Pid, r.exited = cmd, cmd.Process.Pid, exited
	if ports != "" {
		r.until("memcached names its port", func() bool {
			text, _ := os.ReadFile(ports)
			port, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "TCP INET: ")
			r.Addr = "127.0.0.1:" + port
			return ok
		})
	}
	r.until("memcached answers", r.answers)
}

// Kill is kill -9, and returns when the process is gone.
func (r *Real) Kill() {
	if r.process == nil {
		return
	}
	_ = r.process.Process.Kill()
	<-r.exited
	r.process, r.Pid = nil, 0
}

// Restart starts it at the same address, empty; a living one is killed first.
func (r *Real) Restart() {
	r.tb.Helper()
	r.Kill()
	if strings.HasPrefix(r.Addr, "unix:") {
		r.start("")
		return
	}
	_, port, _ := strings.Cut(r.Addr, ":")
	r.start("", "-l", "127.0.0.1", "-p", port)
}

// Freeze is SIGSTOP: connections are still accepted by the kernel, and nothing answers.
func (r *Real) Freeze() {
	r.tb.Helper()
	_ = r.process.Process.Signal(syscall.SIGSTOP)
	r.until("memcached stops", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", r.Pid))
		return err != nil || bytes.Contains(stat, []byte(") T ")) // without /proc there is nothing to wait for
	})
}

// Thaw is SIGCONT. What was sent meanwhile is done now.
func (r *Real) Thaw() { _ = r.process.Process.Signal(syscall.SIGCONT) }

// until polls, and fails the test when memcached ends or patience does.
func (r *Real) until(what string, ok func() bool) {
	r.tb.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		if ok() {
			return
		}
		select {
		case <-tick.C:
		case <-r.exited:
			r.tb.Fatalf("memcached ended before: %s: %s", what, r.stderr.String())
		case <-deadline:
			r.tb.Fatalf("not in %v: %s", patience, what)
		}
	}
}
