package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/config"
)

// adminTimeout covers a ring whose nodes do not answer.
const adminTimeout = 5 * time.Second

// adminFlags name a running process by its admin address.
type adminFlags struct{ file, address, token string }

func (f *adminFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "the `file` of the running process")
	cmd.Flags().StringVar(&f.address, "admin", "", "its admin `address`: a sidecar's is 127.0.0.1:9901, a front's :9902, a control plane's :9903")
	cmd.Flags().StringVar(&f.token, "admin-token-file", "", "`file` with the token that its admin address wants from other machines")
}

func (f *adminFlags) target(environ []string) (adminTarget, error) {
	var given []string
	for flag, value := range map[string]string{"config": f.file, "admin": f.address, "admin-token-file": f.token} {
		if value != "" {
			given = append(given, "--"+flag+"="+value)
		}
	}
	address, token, err := config.Admin(given, environ)
	return adminTarget{address, token}, err
}

// adminTarget is the admin listener of a running process.
type adminTarget struct{ address, token string }

// ask sends a request, a POST with that body as JSON, and returns the text of the answer.
func (a adminTarget) ask(ctx context.Context, method, path string, body map[string]string) ([]byte, error) {
	what := strings.ReplaceAll(path[1:], "/", " ")
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	base, err := adminURL(a.address)
	if err != nil {
		return nil, err
	}
	content, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		request.Header.Set("Authorization", "Bearer "+a.token)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		return nil, hinted{fmt.Errorf("%s: %w", what, err), "is the process running? --admin names its admin address"}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s: %s", what, answer.Status, strings.Join(strings.Fields(string(text)), " "))
	}
	return text, nil
}
