package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCompletionCommand(e env) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print a shell's completion of commands, flags and settings",
		Example: "  pillion completion bash > /etc/bash_completion.d/pillion\n" +
			"  pillion completion zsh > \"${fpath[1]}/_pillion\"\n" +
			"  pillion completion fish > ~/.config/fish/completions/pillion.fish",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      arguments(1, 1, "the name of one shell"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(e.stdout, true)
			case "zsh":
				return root.GenZshCompletion(e.stdout)
			case "fish":
				return root.GenFishCompletion(e.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(e.stdout)
			}
			return usageError{cmd, fmt.Errorf("%q is none of bash, zsh, fish, powershell", args[0])}
		},
	}
}
