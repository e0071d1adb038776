// Package config_test runs the two configurations on the two machines that they are written for: network namespaces with the
// addresses 10.100.0.20 and 10.100.0.21, a real memcached, an app and a sidecar in each, and the files as they are.
package config_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// role tells the test binary which of its processes it is. The one that `go test` starts only makes another, which has a network and
// mounts of its own: nothing here can meet the machine's own networks or another run, and the kernel removes all of it when that
// process ends, however it ends.
const role = "CONFIG_TEST_ROLE"

// missing is why there are no machines to test on.
var missing error

// pillion is the binary under test.
var pillion string

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "app":
		fmt.Fprintln(os.Stderr, serveApp("127.0.0.1:3000"))
		os.Exit(1)
	case "lan":
		os.Exit(runInside(m))
	}
	if missing = required(); missing == nil {
		var code int
		if code, missing = enter(); missing == nil {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}

// required looks for what the machines are made of.
func required() error {
	var mistakes []error
	for _, tool := range []string{"ip", "memcached"} {
		_, err := exec.LookPath(tool)
		mistakes = append(mistakes, err)
	}
	return errors.Join(mistakes...)
}

// enter runs the tests in a process of their own and returns its exit code.
func enter() (int, error) {
	runtime.LockOSThread() // Pdeathsig follows the thread
	inside, err := self("lan", os.Args[1:]...)
	if err != nil {
		return 0, err
	}
	inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 {
		inside.SysProcAttr.Unshareflags |= syscall.CLONE_NEWUSER
		inside.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		inside.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: gid, Size: 1}}
	}
	if err := inside.Start(); err != nil {
		return 0, fmt.Errorf("make namespaces: %w", err)
	}
	_ = inside.Wait() // the exit code says it
	return inside.ProcessState.ExitCode(), nil
}

// self is this binary in another role.
func self(as string, args ...string) (*exec.Cmd, error) {
	path, err := os.Executable()
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd, err
}

// runInside builds the machines and pillion, and runs the tests.
func runInside(m *testing.M) int {
	dir, err := os.MkdirTemp("", "pillion-config")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	pillion = filepath.Join(dir, "pillion")
	if missing = wire(); missing == nil {
		build := exec.Command("go", "build", "-buildvcs=false", "-o", pillion, "../../cmd/pillion")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
			return 1
		}
	}
	return m.Run()
}
