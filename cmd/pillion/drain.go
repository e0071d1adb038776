package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/admin"
)

// drainLook is how often a drain that is waited for is looked at.
const drainLook = 100 * time.Millisecond

func newDrainCommand(e env) *cobra.Command {
	var at adminFlags
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "Take a running process out of its fleet; it keeps serving",
		Long: "Asks a running sidecar, front or control plane, at its admin address, to have visitors sent elsewhere: fronts and other sidecars are\n" +
			"told, the health path answers 503, and sessions that only memory holds are written to the ring. The process serves whatever still\n" +
			"comes, until it is stopped or until 'pillion undrain'. SIGTERM does the same and then ends the process.",
		Example: "  pillion drain --wait && systemctl stop pillion@shop\n  pillion drain --admin 127.0.0.1:9903 --wait --timeout 1m",
		Args:    arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			target, err := at.target(e.environ)
			if err != nil {
				return err
			}
			if !wait {
				_, err := target.departure(cmd.Context(), "POST", "/drain")
				return err
			}
			return target.drain(cmd.Context(), timeout, e.stdout)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return once stopping it would cut nothing short, and say until then what that waits for")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait; after that it is an error, and the drain goes on")
	at.addTo(cmd)
	return cmd
}

func newUndrainCommand(e env) *cobra.Command {
	var at adminFlags
	cmd := &cobra.Command{
		Use:     "undrain",
		Short:   "Return a drained process to its fleet",
		Example: "  pillion undrain\n  pillion undrain --admin 127.0.0.1:9902",
		Args:    arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			target, err := at.target(e.environ)
			if err != nil {
				return err
			}
			_, err = target.departure(cmd.Context(), "POST", "/undrain")
			return err
		},
	}
	at.addTo(cmd)
	return cmd
}

// drain asks for it and waits, printing what is waited for whenever that changes.
func (a adminTarget) drain(ctx context.Context, timeout time.Duration, out io.Writer) error {
	late := errors.New("the timeout is over")
	waiting, cancel := context.WithTimeoutCause(ctx, timeout, late)
	defer cancel()
	now, err := a.departure(ctx, "POST", "/drain")
	var said []string
	for err == nil && now.Draining && len(now.Waiting) > 0 {
		if !slices.Equal(said, now.Waiting) {
			said = now.Waiting
			fmt.Fprintf(out, "waiting: %s\n", strings.Join(said, "; "))
		}
		select {
		case <-waiting.Done():
			return hinted{fmt.Errorf("drain: %w; still waiting: %s", context.Cause(waiting), strings.Join(now.Waiting, "; ")),
				"it goes on draining: run the command again, or end the process, which cuts that short after 10 s"}
		case <-time.After(drainLook):
		}
		now, err = a.departure(ctx, "GET", "/drain")
	}
	if err == nil && !now.Draining {
		err = errors.New("drain: somebody undid it")
	}
	if err == nil {
		fmt.Fprintln(out, "drained: stopping it now cuts nothing short")
	}
	return err
}

func (a adminTarget) departure(ctx context.Context, method, path string) (admin.Departure, error) {
	var now admin.Departure
	text, err := a.ask(ctx, method, path, map[string]string{})
	if err == nil {
		err = json.Unmarshal(text, &now)
	}
	return now, err
}
