package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-proxy/pillion/internal/config"
)

// helpWidth is where the help's lines are broken.
const helpWidth = 120

// The chapters of the root's help, in the order in which an operator meets them.
const (
	toRun       = "run"
	toOperate   = "operate"
	toConfigure = "configure"
	toAsk       = "ask"
)

var chapters = []*cobra.Group{
	{ID: toRun, Title: "Processes:"},
	{ID: toOperate, Title: "Running processes:"},
	{ID: toConfigure, Title: "Settings and keys:"},
	{ID: toAsk, Title: "The program:"},
}

// usage prints how a command is called. cobra's own lists dozens of settings without a chapter, and calls a command that only holds others
// as if it did something.
func usage(cmd *cobra.Command) error {
	w := cmd.OutOrStderr()
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "Usage:\n  %s COMMAND [flags]\n", cmd.CommandPath())
	} else {
		fmt.Fprintf(w, "Usage:\n  %s\n", cmd.UseLine())
	}
	if cmd.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		usageOfCommands(w, cmd)
	}
	usageOfFlags(w, cmd.LocalFlags())
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(w, "\n'%s COMMAND --help' explains a command.\n", cmd.CommandPath())
	}
	return nil
}

func usageOfCommands(w io.Writer, cmd *cobra.Command) {
	groups := cmd.Groups()
	if len(groups) == 0 {
		groups = []*cobra.Group{{Title: "Commands:"}}
	}
	for _, group := range groups {
		fmt.Fprintf(w, "\n%s\n", group.Title)
		for _, c := range cmd.Commands() {
			if !c.Hidden && c.GroupID == group.ID {
				fmt.Fprintf(w, "  %-*s  %s\n", cmd.Commands()[0].NamePadding(), c.Name(), c.Short)
			}
		}
	}
}

// usageOfFlags prints the flags by chapter, those without one first.
func usageOfFlags(w io.Writer, all *pflag.FlagSet) {
	const first = "Flags"
	order, of := []string{first}, map[string]*pflag.FlagSet{first: newChapter()}
	all.VisitAll(func(f *pflag.Flag) {
		title := first
		if given := f.Annotations[config.Chapter]; given != nil {
			title = given[0]
		}
		if of[title] == nil {
			order, of[title] = append(order, title), newChapter()
		}
		shown := *f
		shown.NoOptDefVal = ""
		if f.Value.Type() == "bool" {
			shown.Value = plain{f.Value}
		}
		of[title].AddFlag(&shown)
	})
	for _, title := range order {
		if of[title].HasAvailableFlags() {
			fmt.Fprintf(w, "\n%s:\n%s", title, of[title].FlagUsagesWrapped(helpWidth))
		}
	}
}

func newChapter() *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SortFlags = false
	return fs
}

// plain is a switch that the help shows by its name alone; pflag would write --wait[=true|false].
type plain struct{ pflag.Value }

func (plain) Type() string { return "" }

// newHelpCommand is cobra's, but for an unknown command, which is a mistake here.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command", GroupID: toAsk, Example: "  pillion help sidecar\n  pillion help config check",
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, rest, err := cmd.Root().Find(args)
			switch {
			case err != nil:
				return usageError{cmd.Root(), err}
			case len(rest) > 0 && asked.HasSubCommands():
				return asked.ValidateArgs(rest)
			case len(rest) > 0:
				return usageError{cmd.Root(), fmt.Errorf("%q is no command", strings.Join(args, " "))}
			}
			return asked.Help()
		},
	}
}
