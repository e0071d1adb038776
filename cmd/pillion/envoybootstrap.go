package main

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/xds"
)

func newEnvoyBootstrapCommand(e env) *cobra.Command {
	var b xds.Bootstrap
	mode := "delta"
	cmd := &cobra.Command{
		Use:   "envoy-bootstrap",
		Short: "Print the file to start an Envoy with that follows the control plane",
		Example: "  pillion envoy-bootstrap --control-plane 127.0.0.1:18000 > envoy.json\n" +
			"  envoy --config-path envoy.json",
		Args: arguments(0, 0, "no words"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch mode {
			case "delta", "sotw":
				b.Delta = mode == "delta"
			default:
				return usageError{cmd, fmt.Errorf("--mode %q is neither delta nor sotw", mode)}
			}
			if (b.CA == "") != (b.Cert == "") || (b.Cert == "") != (b.Key == "") {
				return usageError{cmd, errors.New("--ca, --cert and --key come together")}
			}
			if b.CA != "" && b.ServerName == "" {
				host, _, err := net.SplitHostPort(b.ControlPlanes[0])
				if err != nil {
					return usageError{cmd, fmt.Errorf("--control-plane: %w", err)}
				}
				b.ServerName = host
			}
			if b.ID == "" {
				host, err := os.Hostname()
				if err != nil {
					return err
				}
				b.ID = host
			}
			text, err := b.JSON()
			if err != nil {
				return usageError{cmd, err}
			}
			_, err = fmt.Fprintf(e.stdout, "%s\n", text)
			return err
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringSliceVar(&b.ControlPlanes, "control-plane", []string{"127.0.0.1:18000"}, "`address` of a control plane; give all of them")
	fs.StringVar(&mode, "mode", mode, "xDS `protocol`: delta, or sotw (state of the world)")
	fs.StringVar(&b.ID, "id", "", "`name` of this Envoy, by default that of the machine")
	fs.StringVar(&b.Admin, "envoy-admin", "127.0.0.1:9904", "`address` of Envoy's own admin interface")
	fs.StringVar(&b.CA, "ca", "", "PEM `file` with the certificates that sign the control plane's")
	fs.StringVar(&b.Cert, "cert", "", "PEM `file` with this Envoy's certificate, which has the name pillion-front")
	fs.StringVar(&b.Key, "key", "", "PEM `file` with its private key")
	fs.StringVar(&b.ServerName, "server-name", "", "`name` in the control plane's certificate, by default its host")
	return cmd
}
