// Package seed_test runs the script that its readers run.
package seed_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// seed is the script, in a folder for temporary files that must be empty when it has ended.
func seed(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"bash", "ip", "unshare", "nginx", "memcached", "dnsmasq"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	// What is opened here belongs to the result for go test's cache; what the script builds would not.
	for _, dir := range []string{".", "../nginx", "../counter/go", "../../cmd", "../../internal", "../../sessioncodec", "../../sidecar", "../../xds"} {
		_ = filepath.WalkDir(dir, func(string, os.DirEntry, error) error { return nil })
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s is left behind", left[0].Name())
		}
	})
	cmd := exec.Command("./seed", args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Everything in the picture is restarted under load, and either host is lost: no update is lost, no request fails.
func TestNobodyNotices(t *testing.T) {
	t.Parallel()
	out, err := seed(t, "--test").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range []string{"m20: nginx restarted", "m21: memcached restarted, empty", "lost: m20", "lost: m21", "all is well again"} {
		if !strings.Contains(string(out), phase) {
			t.Errorf("no line %q", phase)
		}
	}
}

// Ctrl-C ends all of it, whenever it comes.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	cmd := seed(t)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	overdue := time.AfterFunc(5*time.Minute, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer overdue.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "first visits") {
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() { // until the last process that could write there has ended
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("it ended with %v, want exit code 130", err)
	}
}
