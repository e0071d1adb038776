package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandHasAnExample walks the tree; cobra's own help and completion are not ours, and hidden commands are parts of the demo that
// nobody types.
func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || cmd.Example == "" || cmd.RunE == nil {
			t.Errorf("%s needs Short, Example and RunE", cmd.CommandPath())
		}
		var out, errs bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, nil, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), cmd.Example) {
			t.Errorf("%s --help: code %d, %s%s", cmd.CommandPath(), code, out.String(), errs.String())
		}
		for _, child := range cmd.Commands() {
			if !child.Hidden {
				walk(child)
			}
		}
	}
	walk(newRootCommand(env{}))
}

func TestReport(t *testing.T) {
	for _, tc := range []struct {
		err  error
		code int
		want string
	}{
		{nil, 0, ""},
		{errors.New("it broke"), 1, "pillion: it broke\n"},
		{hinted{errors.New("it broke"), "mend it"}, 1, "pillion: it broke\nhint: mend it\n"},
		{usageError{&cobra.Command{Use: "x"}, errors.New("what?")}, 2, "pillion: what?\nhint: 'x --help' shows how\n"},
	} {
		var out bytes.Buffer
		if code := report(&out, tc.err); code != tc.code || out.String() != tc.want {
			t.Errorf("report(%v) = %d, %q; want %d, %q", tc.err, code, out.String(), tc.code, tc.want)
		}
	}
}

func TestAdminURL(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:9901": "http://127.0.0.1:9901",
		":9901":          "http://127.0.0.1:9901",
		"0.0.0.0:9901":   "http://127.0.0.1:9901",
		"[::]:9901":      "http://[::1]:9901",
		"10.0.0.1:1":     "http://10.0.0.1:1",
		"127.0.0.1:0":    "",
	} {
		if got, err := adminURL(address); got != want || (err == nil) != (want != "") {
			t.Errorf("adminURL(%q) = %q, %v, want %q", address, got, err, want)
		}
	}
}
