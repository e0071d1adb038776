package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine says what the table was made with and on, so that a reader can judge its times and run it again.
func machine() string {
	commit := says("git", "describe", "--always", "--dirty", "--abbrev=12")
	return fmt.Sprintf("Pillion %s, %s, %s, %s\n%s, %d cores, Linux %s, load average %s",
		commit, runtime.Version(), says("memcached", "-V"), says("nginx", "-v"),
		time.Now().UTC().Format("2006-01-02 15:04"), runtime.NumCPU(), fileSays("/proc/sys/kernel/osrelease"), load())
}

// load is the machine's load average over a minute: other work on it makes answers slow, and loses nothing.
func load() string { return fileSays("/proc/loadavg") }

// says is the first line that a program prints about its version.
func says(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return "no " + program
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimPrefix(line, "nginx version: ")
}

// fileSays is the first word of a file.
func fileSays(path string) string {
	text, _ := os.ReadFile(path)
	if words := strings.Fields(string(text)); len(words) > 0 {
		return words[0]
	}
	return "unknown"
}
