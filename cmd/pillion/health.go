package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-proxy/pillion/internal/config"
)

// healthTimeout is generous: a sidecar answers /ready from memory.
const healthTimeout = 2 * time.Second

func newHealthCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a running process whether it is ready",
		Long: "Exits with 0 if a running process is ready and with 1 if it is not or does not answer: a probe for images without a shell. Without a\n" +
			"URL it asks /ready on the admin address that the flags, PILLION_ADMIN or the file name.",
		Example: "  pillion health\n  pillion health --config /etc/pillion/shop.yaml\n  pillion health http://127.0.0.1:9902/ready",
		Args:    arguments(0, 1, "at most one URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return probe(cmd.Context(), args[0])
			}
			var given []string
			cmd.Flags().Visit(func(f *pflag.Flag) { given = append(given, "--"+f.Name+"="+f.Value.String()) })
			address, _, err := config.Admin(given, e.environ)
			if err != nil {
				return err
			}
			url, err := adminURL(address)
			if err != nil {
				return err
			}
			return probe(cmd.Context(), url+"/ready")
		},
	}
	cmd.Flags().String("config", "", "the sidecar's `file`")
	cmd.Flags().String("admin", "", "the sidecar's admin `address`")
	return cmd
}

// adminURL is where the sidecar of this machine answers that was told to listen on address.
func adminURL(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if port == "0" {
		return "", hinted{fmt.Errorf("the admin address %s has a port that only the sidecar knows", address), "give the URL that the sidecar logged, or set admin to a port"}
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// probe asks url directly: a proxy set in the environment has no business with it.
func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return hinted{fmt.Errorf("health: %w", err), notThere}
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	why, _ := io.ReadAll(io.LimitReader(answer.Body, 4<<10))
	return fmt.Errorf("health: %s: %w", url, refusal(answer.Status, why))
}
