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
		Short: "Take a running sidecar, front or control plane out of its fleet; it goes on serving",
		Long: "Asks a running process, by its admin address, to have visitors sent elsewhere: fronts and other sidecars are told, the health path\n" +
			"answers 503, and what memory owes the ring is written. It serves what comes until it is ended, or until 'pillion undrain'. SIGTERM does\n" +
			"the same and then ends it.",
		Example: "  pillion drain --wait && systemctl stop pillion\n  pillion drain --admin 127.0.0.1:9903 --wait --timeout 1m",
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
	cmd.Flags().BoolVar(&wait, "wait", false, "return when its end would cut nothing short, and say until then what it waits for")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "how long to wait; it is an error when it is over, and the drain goes on")
	at.addTo(cmd)
	return cmd
}

func newUndrainCommand(e env) *cobra.Command {
	var at adminFlags
	cmd := &cobra.Command{
		Use:     "undrain",
		Short:   "Take a drain back: the process rejoins its fleet",
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
		err = errors.New("drain: somebody took it back")
	}
	if err == nil {
		fmt.Fprintln(out, "drained: it may be ended")
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
