package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sidecar"
)

// How commands are made. Each has a file and a constructor newXCommand(env) that run adds to the tree.
//
//   - A command sees the world through env and cmd.Context(), which ends at SIGINT or SIGTERM. It never calls os.Exit and reads no
//     global: run can be called by tests as often as they like.
//   - It has Short, an Example and RunE, and returns its errors; report prints them, once. An error begins in lower case and says
//     what failed; what to do next is a hint (see hinted).
//   - Exit code 2: it was asked wrongly (usageError, config.Error), and asking again is of no use. Exit code 1: it failed.
//   - A command with the settings of the sidecar calls takesConfig and then config.Load(args, env.environ) in RunE.
//   - Results go to env.stdout, everything else to env.stderr.

// env is what a command sees of the process.
type env struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand(env{environ, stdin, stdout, stderr})
	root.SetArgs(args)
	return report(stderr, root.ExecuteContext(ctx))
}

func newRootCommand(e env) *cobra.Command {
	root := group(&cobra.Command{
		Use:           "pillion",
		Short:         "Sessions for HTTP apps in any language: a sidecar beside each app, and a ring of memcached nodes",
		Example:       "  pillion demo\n  pillion sidecar --config /etc/pillion/shop.yaml",
		SilenceErrors: true,
		SilenceUsage:  true,
	})
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError{cmd, err} })
	root.SetUsageFunc(usage)
	root.Version = versionLine()
	root.SetVersionTemplate("{{.Version}}\n")
	root.Flags().Bool("version", false, "print the version") // cobra's own would take -v too
	root.AddGroup(chapters...)
	add := func(chapter string, all ...*cobra.Command) {
		for _, cmd := range all {
			cmd.GroupID = chapter
			root.AddCommand(cmd)
		}
	}
	add(toRun, newDemoCommand(e), newSidecarCommand(e), newFrontCommand(e, func(f *sidecar.Front) head.Handler { return f }), newControlPlaneCommand(e))
	add(toOperate, newHealthCommand(e), newDrainCommand(e), newUndrainCommand(e), newSessionCommand(e))
	add(toConfigure, newConfigCommand(e), newEnvoyBootstrapCommand(e))
	add(toAsk, newVersionCommand(e), newCompletionCommand(e))
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(newDemoPartCommands(e)...)
	return root
}

// group makes a command that only holds others. cobra would take a word it does not know as a call for help, and exit with 0.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := fmt.Errorf("%q is no command of %s", args[0], cmd.CommandPath())
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
		return usageError{cmd, err}
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// takesConfig gives cmd the settings as flags: cobra shows them, and config.Load reads them, so that the mistakes of flags,
// variables and file are reported together. Asked for --help, Load returns the error that makes cobra help.
func takesConfig(cmd *cobra.Command) *cobra.Command { return takesFlags(cmd, config.Flags()) }

// takesFlags is takesConfig for another kind of process.
func takesFlags(cmd *cobra.Command, flags *pflag.FlagSet) *cobra.Command {
	cmd.DisableFlagParsing = true
	cmd.Flags().AddFlagSet(flags)
	cmd.Flags().SortFlags = false
	return cmd
}

// arguments checks how many words follow a command; names is how its Use calls them.
func arguments(low, high int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return usageError{cmd, fmt.Errorf("%s takes %s, and was given %d", cmd.CommandPath(), names, len(args))}
		}
		return nil
	}
}

// usageError is a call that cmd does not understand.
type usageError struct {
	cmd *cobra.Command
	err error
}

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }
func (e usageError) Hint() string  { return fmt.Sprintf("'%s --help' shows how", e.cmd.CommandPath()) }

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }
func (e hinted) Hint() string  { return e.hint }

// report prints the error of a command and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "pillion: %v\n", err)
	var next interface{ Hint() string }
	if errors.As(err, &next) {
		fmt.Fprintf(stderr, "hint: %s\n", next.Hint())
	}
	var usage usageError
	var settings *config.Error
	if errors.As(err, &usage) || errors.As(err, &settings) {
		return 2
	}
	return 1
}
