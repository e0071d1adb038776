package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profiled is how long a profile takes.
const profiled = 10 * time.Second

// profile keeps CPU profiles of the Pillion processes under load in dir, for go tool pprof. The turns are further ones: a profiler in the
// process would be measured too.
func (l *lab) profile(candidates []*candidate, dir string, connections int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range candidates {
		s := c.pillion()
		if s == nil {
			continue
		}
		path := filepath.Join(dir, strings.NewReplacer(" ", "-", ",", "").Replace(strings.TrimPrefix(c.name, "Pillion "))+".pprof")
		progress("profile: %s", path)
		fetched := make(chan error, 1)
		go func() { fetched <- fetchProfile(s.admin, path, profiled) }()
		if _, err := l.drive(c, connections, profiled+time.Second); err != nil {
			return err
		}
		if err := <-fetched; err != nil {
			return fmt.Errorf("profile of %s: %w", c.name, err)
		}
	}
	return nil
}

func fetchProfile(admin, path string, d time.Duration) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	err = fetch(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%.0f", admin, d.Seconds()), file)
	return errors.Join(err, file.Close())
}

// fetch copies what an admin address answers.
func fetch(url string, to io.Writer) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	_, err = io.Copy(to, resp.Body)
	return err
}
