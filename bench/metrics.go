package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// counters are what a Pillion process says of itself at /metrics: one figure for each name with its labels.
type counters map[string]float64

func fetchCounters(admin string) (counters, error) {
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics of %s: %s", admin, resp.Status)
	}
	return parseCounters(resp.Body)
}

func parseCounters(text io.Reader) (counters, error) {
	c := counters{}
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q is no figure", lines.Text())
		}
		c[name] = n
	}
	return c, lines.Err()
}

// of sums a metric over all its labels.
func (c counters) of(name string) (sum float64) {
	for full, n := range c {
		if full == name || strings.HasPrefix(full, name+"{") {
			sum += n
		}
	}
	return sum
}

// The counters that prove features on.
const (
	sessionRequests = `pillion_requests_total{kind="session"}`
	commits         = `pillion_commits_total{result="ok"}`
	frontRequests   = `pillion_front_requests_total`
	allocations     = `go_memstats_mallocs_total`
	takeovers       = `pillion_session_events_total{event="takeover"}`
	forwards        = `pillion_session_events_total{event="forwarded"}`
)
