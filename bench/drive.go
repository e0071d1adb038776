package main

import (
	_ "embed"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

//go:embed wrk.lua
var wrkScript string

// turn is what one run of wrk against a candidate gave: microseconds of CPU, operations and allocations are those of one request.
type turn struct {
	cpu, memcached, behind float64
	rate                   float64 // requests a second
	p50, p99, p999         float64 // microseconds
	gets, writes           float64
	allocations            float64
	saw                    seen
}

// drive puts load on a candidate, and checks that every request was answered and that the candidate did its work.
func (l *lab) drive(c *candidate, connections int, d time.Duration) (turn, error) {
	before, err := c.before()
	if err != nil {
		return turn{}, err
	}
	done, err := l.wrk(c, connections, d)
	if err != nil {
		return turn{}, err
	}
	after, err := c.after()
	if err != nil {
		return turn{}, err
	}
	if done.failed > 0 {
		return turn{}, fmt.Errorf("%s: of %d requests %d failed:\n%s", c.name, done.requests, done.failed, c.process.lastWords())
	}
	if err := c.judge(before, after, done.requests); err != nil {
		return turn{}, err
	}
	saw, ops := after.app.since(before.app), after.asked.since(before.asked)
	n := float64(saw.requests)
	return turn{
		cpu: (after.cpu - before.cpu) / n, memcached: (after.memcached - before.memcached) / n, behind: (after.behind - before.behind) / n,
		rate: float64(done.requests) / (float64(done.micros) / 1e6),
		p50:  float64(done.p50), p99: float64(done.p99), p999: float64(done.p999),
		gets: float64(ops.gets) / n, writes: float64(ops.writes) / n,
		allocations: (after.allocations - before.allocations) / n, saw: saw,
	}, nil
}

// report is the last line of wrk.lua.
type report struct{ requests, micros, p50, p99, p999, failed int64 }

func (l *lab) wrk(c *candidate, connections int, d time.Duration) (report, error) {
	script, err := l.file("wrk.lua", wrkScript)
	if err != nil {
		return report{}, err
	}
	base, path := splitURL(c.url)
	out, err := exec.CommandContext(l.ctx, "wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%.0fs", d.Seconds()),
		"-s", script, base, "--", path, c.cookies).CombinedOutput()
	if err != nil {
		return report{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	_, line, _ := strings.Cut(string(out), "\ndone ")
	var r report
	if _, err := fmt.Sscan(line, &r.requests, &r.micros, &r.p50, &r.p99, &r.p999, &r.failed); err != nil {
		return report{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	return r, nil
}

// splitURL cuts scheme://host:port off the path.
func splitURL(url string) (base, path string) {
	at := strings.Index(url, "://") + len("://")
	if slash := strings.IndexByte(url[at:], '/'); slash >= 0 {
		return url[:at+slash], url[at+slash:]
	}
	return url, "/"
}

const warmUp = time.Second

// series are the turns of all candidates with one number of connections: the first of each is of the first round.
type series struct {
	connections int
	turns       map[string][]turn
}

// drives lets the candidates take turns; every other round goes backwards.
func (l *lab) drives(candidates []*candidate, connections, rounds int, each time.Duration) (series, error) {
	s := series{connections, map[string][]turn{}}
	for _, c := range candidates {
		if _, err := l.drive(c, connections, warmUp); err != nil {
			return s, err
		}
	}
	order := slices.Clone(candidates)
	for round := range rounds {
		for _, c := range order {
			got, err := l.drive(c, connections, each)
			if err != nil {
				return s, err
			}
			progress("%d connections, round %d of %d: %-32s %6.1f us a request, %6.0f requests/s", connections, round+1, rounds, c.name, got.cpu, got.rate)
			s.turns[c.name] = append(s.turns[c.name], got)
		}
		slices.Reverse(order)
	}
	return s, nil
}

// figure is what a turn says about one thing.
type figure func(turn) float64

func cpu(t turn) float64       { return t.cpu }
func rate(t turn) float64      { return t.rate }
func allocated(t turn) float64 { return t.allocations }

// of is the spread of a figure of a candidate.
func (s series) of(name string, of figure) spread {
	var all []float64
	for _, t := range s.turns[name] {
		all = append(all, of(t))
	}
	return spreadOf(all)
}

// ratio is the spread of one candidate's figure over another's, taken within each round. Both must have been measured.
func (s series) ratio(name, against string, of figure) spread {
	var all []float64
	for i, t := range s.turns[name] {
		all = append(all, of(t)/of(s.turns[against][i]))
	}
	return spreadOf(all)
}

func (s series) measured(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return len(s.turns[name]) == 0 })
}
