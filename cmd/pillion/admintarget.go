package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pillion-proxy/pillion/internal/config"
)

const notThere = "is the process running? --admin or --config names its admin address"

// adminTimeout covers a ring whose nodes do not answer.
const adminTimeout = 5 * time.Second

// adminFlags name a running process by its admin address.
type adminFlags struct{ file, address, token string }

func (f *adminFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "settings `file` of the running process, which names its admin address")
	cmd.Flags().StringVar(&f.address, "admin", "", "admin `address` of the running process (default 127.0.0.1:9901, a sidecar's; a front has 9902, a control plane 9903)")
	cmd.Flags().StringVar(&f.token, "admin-token-file", "", "`file` with the token that the admin address requires from other machines")
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
		return nil, hinted{fmt.Errorf("%s: %w", what, err), notThere}
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %w", what, refusal(answer.Status, text))
	}
	return text, nil
}

// refusal is why an admin address did not answer 200, in its own words where they are known.
func refusal(status string, body []byte) error {
	var said struct {
		Error   string
		Blocked []string
	}
	switch err := json.Unmarshal(body, &said); {
	case err == nil && said.Error != "":
		return errors.New(said.Error)
	case err == nil && len(said.Blocked) > 0:
		return fmt.Errorf("not ready: %s", strings.Join(said.Blocked, "; "))
	}
	return fmt.Errorf("%s: %s", status, strings.Join(strings.Fields(string(body)), " "))
}
