package enginetest

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// behaviours are tests by their names.
type behaviours map[string]func(*testing.T, Build)

// Run is the behaviour suite, without what an engine is known to do otherwise.
func Run(t *testing.T, build Build, except ...string) {
	for _, group := range []behaviours{requests, answers, failures, repeats, drains, tunnels, encodings, timeouts, attacks} {
		for name, test := range group {
			if !slices.Contains(except, name) {
				t.Run(name, func(t *testing.T) { test(t, build) })
			}
		}
	}
}

// RunHTTP2 asks an engine that serves HTTP/2 too in that.
func RunHTTP2(t *testing.T, build Build) {
	for name, test := range overHTTP2 {
		t.Run(name, func(t *testing.T) { test(t, build) })
	}
}

// Main runs the tests of an engine and fails when they leave a goroutine behind that runs code of it, which shows by words in its stack.
func Main(m *testing.M, words ...string) {
	code := m.Run()
	left := ""
	if !within(patience, func() bool { left = leftovers(words); return left == "" }) {
		fmt.Fprintf(os.Stderr, "goroutines left:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

func leftovers(words []string) string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if slices.ContainsFunc(words, func(word string) bool { return strings.Contains(stack, word) }) {
			return stack
		}
	}
	return ""
}
