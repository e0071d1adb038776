package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/demo"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/memcachedtest"
	"github.com/pillion-proxy/pillion/sidecar"
)

func newDemoCommand(e env) *cobra.Command {
	o := demo.Options{Environ: e.environ, Out: e.stdout}
	front := "pillion"
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a whole fleet on loopback, to use it and to kill its parts",
		Long: "Two memcached nodes, two apps with their sidecars, a control plane and a front, each a process of its own. The sidecars register with\n" +
			"the control plane and the front follows it; that is all they know of each other.\n" +
			"A line for each part says its kind, name, address and pid. A part that dies comes back, empty, after 3 seconds.\n" +
			"Ctrl-C ends all of them.",
		Example: "  pillion demo\n  pillion demo --sticky=false --listen 127.0.0.1:8080\n  pillion demo --front envoy",
		Args:    arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if o.Envoy = front == "envoy"; !o.Envoy && front != "pillion" {
				return usageError{cmd, fmt.Errorf("--front %q is neither pillion nor envoy", front)}
			}
			if o.Executable, err = os.Executable(); err != nil {
				return fmt.Errorf("find this program, to run its parts: %w", err)
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&o.Sticky, "sticky", true, "sessions live in one sidecar; false: the ring is the truth")
	cmd.Flags().BoolVar(&o.Restart, "restart", true, "start a killed part again after 3 seconds")
	cmd.Flags().StringVar(&o.Listen, "listen", "", "the front's `address` (default a free port of 127.0.0.1)")
	cmd.Flags().StringVar(&front, "front", front, "what the front is: pillion, or envoy, a `program` of that name in PATH")
	return cmd
}

// newDemoPartCommands are the parts of the demo that are no commands of their own.
func newDemoPartCommands(e env) []*cobra.Command {
	var listen, name string
	part := func(use string, run func(ctx context.Context, l net.Listener) error) *cobra.Command {
		cmd := &cobra.Command{Use: use, Hidden: true, Args: arguments(0, 0, "no words"), RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "listening on %s\n", l.Addr())
			return run(cmd.Context(), l)
		}}
		cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "`address`")
		return cmd
	}
	node := part("demo-node", serveNode)
	app := part("demo-app", func(ctx context.Context, l net.Listener) error { return serveUntil(ctx, l, demo.App(name)) })
	app.Flags().StringVar(&name, "name", "app", "how the app calls itself")
	front := newFrontCommand(e, func(f *sidecar.Front) head.Handler { return demo.Front{Balancer: f} })
	front.Use, front.Hidden = "demo-front", true
	return []*cobra.Command{node, app, front}
}

func serveNode(ctx context.Context, l net.Listener) error {
	node := memcachedtest.New(memcachedtest.Options{MaxBytes: 64 << 20})
	stop := context.AfterFunc(ctx, func() { _ = l.Close(); node.Close() })
	defer stop()
	if err := node.Serve(l); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func serveUntil(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
