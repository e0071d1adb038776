package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	visitors = 1000 // sessions that take turns
	warmUp   = time.Second
)

// load says how to measure under load.
type load struct {
	rounds   int
	each     time.Duration // of one turn
	profiles string        // directory for CPU profiles, "" for none
}

// measure measures sidecars against nginx, each before an app and, for the sidecars, two nodes of its own.
func (o load) measure(l *lab, t *table) error {
	progress("load: starting nginx and sidecars with %d sessions each", visitors)
	nginx, err := l.startNginx()
	if err != nil {
		return err
	}
	candidates := []*proxy{nginx}
	for _, c := range []struct {
		name, path string
		settings   []string
	}{
		{"sticky read", readPath, nil},
		{"sticky write", writePath, nil},
		{"shared read", readPath, []string{"--sticky=false"}},
	} {
		p, err := l.startSidecar(c.name, c.path, c.settings)
		if err != nil {
			return err
		}
		candidates = append(candidates, p)
	}
	nginx.cookies = candidates[1].cookies
	turns, err := l.drives(candidates, o.rounds, o.each)
	if err != nil {
		return err
	}
	for _, p := range candidates[1:] {
		t.addLoad(p, turns[p], turns[nginx])
	}
	if o.profiles != "" {
		return l.profile(candidates[1:], o.profiles, o.each)
	}
	return nil
}

// startSidecar starts one with its fleet and fills it with sessions.
func (l *lab) startSidecar(name, path string, settings []string) (*proxy, error) {
	f, err := l.startFleet(settings...)
	if err != nil {
		return nil, err
	}
	cookies, err := f.newSessions(visitors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	file := filepath.Join(l.dir, "cookies "+name)
	if err := os.WriteFile(file, []byte(strings.Join(cookies, "\n")+"\n"), 0o600); err != nil {
		return nil, err
	}
	return &proxy{name: name, process: f.sidecar, address: f.address, admin: f.admin, app: f.app, path: path, cookies: file}, nil
}

// drives lets the candidates take turns; every other round goes backwards.
func (l *lab) drives(candidates []*proxy, rounds int, each time.Duration) (map[*proxy][]turn, error) {
	for _, p := range candidates {
		if _, err := l.drive(p, warmUp); err != nil {
			return nil, err
		}
	}
	turns := map[*proxy][]turn{}
	order := slices.Clone(candidates)
	for round := range rounds {
		for _, p := range order {
			got, err := l.drive(p, each)
			if err != nil {
				return nil, err
			}
			progress("load, round %d of %d: %-12s %6.1f us a request, %6.0f requests/s", round+1, rounds, p.name, got.cpu, got.rate)
			turns[p] = append(turns[p], got)
		}
		slices.Reverse(order)
	}
	return turns, nil
}

// addLoad adds the rows of one candidate.
func (t *table) addLoad(p *proxy, ours, yardstick []turn) {
	for _, row := range []struct {
		name, unit string
		of         func(turn) float64
	}{
		{"CPU", "%.1f us a request", func(t turn) float64 { return t.cpu }},
		{"throughput", "%.0f requests/s", func(t turn) float64 { return t.rate }},
		{"latency, median", "%.0f us", func(t turn) float64 { return t.p50 }},
		{"latency, 99 %", "%.0f us", func(t turn) float64 { return t.p99 }},
	} {
		var mine, theirs, ratios []float64
		for i := range ours {
			mine = append(mine, row.of(ours[i]))
			theirs = append(theirs, row.of(yardstick[i]))
			ratios = append(ratios, row.of(ours[i])/row.of(yardstick[i]))
		}
		ratio := spreadOf(ratios)
		t.add(p.name+", "+row.name, fmt.Sprintf(row.unit, spreadOf(mine).median), "nginx "+fmt.Sprintf(row.unit, spreadOf(theirs).median),
			ratio.ratio(), ratio.width())
	}
	var saw seen
	for _, got := range ours {
		saw = saw.plus(got.saw)
	}
	t.add(p.name+", session in the request", fmt.Sprintf("%d of %d requests", saw.sessions, saw.requests), "", "",
		fmt.Sprintf("%d B, %d visitors, %d connections", saw.bytes/max(saw.sessions, 1), visitors, connections))
}
