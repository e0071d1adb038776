package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profile keeps CPU profiles of the sidecars under load in dir, for go tool pprof. The turns are further ones: a profiler in the process
// would be measured too.
func (l *lab) profile(candidates []*proxy, dir string, each time.Duration) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range candidates {
		path := filepath.Join(dir, strings.ReplaceAll(p.name, " ", "-")+".pprof")
		progress("profile: %s", path)
		fetched := make(chan error, 1)
		go func() { fetched <- fetchProfile(p.admin, path, each) }()
		if _, err := l.drive(p, each+time.Second); err != nil {
			return err
		}
		if err := <-fetched; err != nil {
			return fmt.Errorf("profile of %s: %w", p.name, err)
		}
	}
	return nil
}

func fetchProfile(admin, path string, d time.Duration) error {
	resp, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", admin, d.Seconds()))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
