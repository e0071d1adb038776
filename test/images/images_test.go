// Package images_test holds the Dockerfile, the compose files and the manifests to the parsers of those who will read them, and runs the
// compose files: each container as a process with the container's command, variables, files, user, network and limits, the image's rest
// being this machine. It is a module of its own: those parsers are heavier than the product.
package images_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

const root = "../.."

// role tells the test binary that it is inside: the process that `go test` starts makes another one, with a network, mounts and processes of
// its own, which all go when that ends. Containers do not work without root; these do not either.
const role = "IMAGES_TEST_ROLE"

// pillion is the binary that the Dockerfile's command makes.
var pillion string

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" && os.Getuid() == 0 && runtime.GOOS == "linux" {
		if code, err := enter(); err == nil {
			os.Exit(code)
		}
	}
	dir, err := os.MkdirTemp("", "pillion-images")
	if err != nil {
		panic(err)
	}
	pillion = filepath.Join(dir, "pillion")
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// enter runs the tests inside, where there is no way to a module proxy: what the build needs is fetched before.
func enter() (int, error) {
	download := exec.Command("go", "mod", "download")
	download.Dir = root
	if out, err := download.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go mod download: %w: %s", err, out)
	}
	runtime.LockOSThread() // Pdeathsig follows the thread
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	inside := exec.Command(self, os.Args[1:]...)
	inside.Env = append(os.Environ(), role+"=inside")
	inside.Stdout, inside.Stderr = os.Stdout, os.Stderr
	inside.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := inside.Start(); err != nil {
		return 0, err
	}
	_ = inside.Wait() // the exit code says it
	return inside.ProcessState.ExitCode(), nil
}

// missing ends a test that needs what is not there: in CI as a failure.
func missing(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}
