package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/config"
	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/sidecar"
)

// newFrontCommand has a front of which an engine drives what handler makes.
func newFrontCommand(e env, handler func(*sidecar.Front) head.Handler) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "front",
		Short: "Balance visitors over sidecars, each to the one that holds the session",
		Long: "A front reads from the session's id which sidecar holds it, and asks each sidecar once a second whether it wants visitors. A request\n" +
			"that reached nobody goes on to another sidecar; so does a GET, HEAD or OPTIONS whose sidecar died while it was serving it.\n" +
			"A front follows a control plane, which tells it the same as an Envoy: listeners, certificates, hosts, apps and their sidecars. Or it\n" +
			"is given a static list of the sidecars of one app.",
		Example: "  pillion front --control-plane 10.100.0.20:18000 --control-plane 10.100.0.21:18000\n" +
			"  pillion front --config /etc/pillion/front.yaml\n" +
			"  pillion front --listen :80 --backends a1=10.100.0.20:8080 --backends a2=10.100.0.21:8080\n" +
			"  pillion front --listen :443 --tls-cert /etc/pillion/tls.pem --tls-key /etc/pillion/tls.key --backends a1=10.100.0.20:8080,a2=10.100.0.21:8080",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.LoadFront(args, e.environ)
			if err != nil {
				return err
			}
			return runFront(cmd.Context(), c, args, handler, e)
		},
	}
	return takesFlags(cmd, config.FrontFlags())
}

// runFront serves until ctx ends, then drains.
func runFront(ctx context.Context, c *config.Config, args []string, handler func(*sidecar.Front) head.Handler, e env) error {
	p, err := newFrontProcess(c, args, handler, e)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.open(e.stdout); err != nil {
		return err
	}
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	background := p.start(work)
	p.announce(c)
	defer background.Wait()
	defer stop()
	select {
	case err := <-p.ports.failed:
		return err
	case <-ctx.Done():
	}
	p.drain(c.DrainLinger)
	p.log.Info("stopped")
	return nil
}
