package examples_test

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// work is the folder of what the tests build.
var work string

func TestMain(m *testing.M) {
	var err error
	if work, err = os.MkdirTemp("", "pillion-examples-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(work)
	os.Exit(code)
}

// language is how the counter of one language is built and run, in the folder counter; DIR is work.
type language struct {
	name, tool string
	build      func() error
	run        string
}

var languages = []language{
	{"Go", "go", built("go build -o DIR/counter ./go"), "DIR/counter"},
	{"Python", "python3", nil, "python3 python/counter.py"},
	{"Node", "node", nil, "node node/counter.mjs"},
	{"Java", "javac", built("javac -d DIR java/Counter.java"), "java -cp DIR Counter"},
}

var buildPillion = built("go build -o DIR/pillion ../../cmd/pillion")

// built builds something once.
func built(line string) func() error {
	return sync.OnceValue(func() error {
		if out, err := command(line).CombinedOutput(); err != nil {
			return errors.New(line + ": " + string(out))
		}
		return nil
	})
}

func command(line string) *exec.Cmd {
	args := strings.Fields(strings.ReplaceAll(line, "DIR", filepath.ToSlash(work)))
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = "counter"
	return cmd
}

// start runs a program until the test ends and returns the address in its first line, `listening on HOST:PORT`.
func start(t *testing.T, cmd *exec.Cmd, env ...string) (address string, more *bufio.Reader) {
	t.Helper()
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop(cmd)
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(cmd.Path), text)
		}
		_ = log.Close()
	})
	more = bufio.NewReader(out)
	return said(t, more, "listening on "), more
}

// said reads the next line, which must begin so, and returns the rest of it.
func said(t *testing.T, out *bufio.Reader, beginning string) string {
	t.Helper()
	line := make(chan string, 1)
	go func() {
		text, _ := out.ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		address, ok := strings.CutPrefix(strings.TrimSpace(text), beginning)
		if !ok {
			t.Fatalf("the line is %q, want %s...", text, beginning)
		}
		return address
	case <-time.After(20 * time.Second):
		t.Fatalf("no line %q in 20 s", beginning)
		return ""
	}
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	overdue := time.AfterFunc(5*time.Second, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	overdue.Stop()
}

// freeAddress is one that the app can be told before the sidecar listens on it.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if ok() {
			return
		}
	}
	t.Fatalf("not in 20 s: %s", what)
}

// answers tells whether a URL answers 200.
func answers(url string) bool {
	resp, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
