package main

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

func newSessionCommand(e env) *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "session",
		Short: "Show or end a session",
		Long: "A session is named by its ref, the public name that logs and Pillion-Meta have. Its id, the value of the cookie, is a secret: it is read\n" +
			"from standard input only, so that no shell history and no process list shows it. The commands ask a running sidecar at its admin address.",
		Example: "  pillion session show k3Jx9wQ2mB7sYtE0aVfLzR5uHcN8oPdi\n  pillion session destroy < id",
	})
	cmd.AddCommand(
		newSessionVerb(e, "show", &cobra.Command{
			Use: "show [REF]", Short: "Show where the copies of a session are, and the size of each attribute",
			Example: "  pillion session show REF\n  pillion session show -- -REF-THAT-BEGINS-WITH-A-DASH\n  pillion session show --admin 127.0.0.1:9901 < id",
			Args:    arguments(0, 1, "one ref, or an id on standard input"),
		}, sessionName),
		newSessionVerb(e, "destroy", &cobra.Command{
			Use: "destroy [REF]", Short: "End a session on every node",
			Example: "  pillion session destroy REF\n  pillion session destroy --admin 127.0.0.1:9901 < id",
			Args:    arguments(0, 1, "one ref, or an id on standard input"),
		}, sessionName),
		newSessionVerb(e, "destroy-subject", &cobra.Command{
			Use: "destroy-subject SUBJECT", Short: "End every session of a subject, which logs it out everywhere",
			Example: "  pillion session destroy-subject u123",
			Args:    arguments(1, 1, "one subject"),
		}, subjectName))
	return cmd
}

// newSessionVerb gives cmd what the session commands share: they ask a sidecar's admin address, with a body that name reads.
func newSessionVerb(e env, verb string, cmd *cobra.Command, name func(args []string, stdin io.Reader) (map[string]string, error)) *cobra.Command {
	var at adminFlags
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		body, err := name(args, e.stdin)
		if err != nil {
			return usageError{cmd, err}
		}
		target, err := at.target(e.environ)
		if err != nil {
			return err
		}
		text, err := target.ask(cmd.Context(), http.MethodPost, "/session/"+verb, body)
		if err == nil {
			_, err = e.stdout.Write(text)
		}
		return err
	}
	at.addTo(cmd)
	return cmd
}

func subjectName(args []string, _ io.Reader) (map[string]string, error) {
	return map[string]string{"subject": args[0]}, nil
}

// sessionName is the body that names the session.
func sessionName(args []string, stdin io.Reader) (map[string]string, error) {
	if len(args) == 1 {
		if strings.ContainsRune(args[0], '.') || len(args[0]) > 32 {
			return nil, errors.New("that looks like a session id: give ids on standard input only")
		}
		return map[string]string{"ref": args[0]}, nil
	}
	text, err := io.ReadAll(io.LimitReader(stdin, 4<<10))
	if err != nil {
		return nil, err
	}
	id := strings.TrimSpace(string(text))
	if id == "" {
		return nil, errors.New("give a ref, or an id on standard input")
	}
	return map[string]string{"id": id}, nil
}
