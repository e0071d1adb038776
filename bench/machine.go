package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// asks are the arguments by which a program tells its version.
var asks = map[string][]string{
	"memcached": {"-V"}, "nginx": {"-v"}, "wrk": {"-v"}, "haproxy": {"-v"}, "envoy": {"--version"}, "java": {"-version"},
}

// machine says where the figures come from, and how to get one's own.
func machine(ctx context.Context, programs []string) []string {
	command := "go run ./bench"
	if len(os.Args) > 1 {
		command += " " + strings.Join(os.Args[1:], " ")
	}
	versions := []string{runtime.Version()}
	for _, program := range programs {
		if args := asks[program]; args != nil {
			versions = append(versions, says(ctx, program, args...))
		}
	}
	return []string{
		fmt.Sprintf("%s, %s, %d cores, Linux %s, load average %s", time.Now().UTC().Format("2006-01-02"),
			processor(), runtime.NumCPU(), firstLine("/proc/sys/kernel/osrelease"), firstField(firstLine("/proc/loadavg"))),
		strings.Join(versions, ", "),
		fmt.Sprintf("%s: times are this machine's and only ratios compare", command),
	}
}

func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

// says is the first line that a program prints about itself, up to a copyright; wrk then exits with 1.
func says(ctx context.Context, program string, args ...string) string {
	out, _ := exec.CommandContext(ctx, program, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	line, _, _ = strings.Cut(line, " [")
	line, _, _ = strings.Cut(line, " - ")
	if _, build, ok := strings.Cut(line, "  version: "); ok { // of Envoy: path, commit, number and more
		return "Envoy " + strings.Split(build, "/")[1]
	}
	return strings.TrimSpace(strings.ReplaceAll(line, "nginx version: ", ""))
}

func firstLine(path string) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func firstField(line string) string {
	field, _, _ := strings.Cut(line, " ")
	return field
}
