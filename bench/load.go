package main

import (
	"fmt"
)

// load puts load on all candidates, for each number of connections.
func (o options) load(l *lab, candidates []*candidate) ([]series, error) {
	var all []series
	for _, connections := range o.connections {
		s, err := l.drives(candidates, connections, o.rounds, o.turn)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// loadTable has a row for each candidate. Ratios are those of the same round to nginx as a plain proxy.
func (s series) table(candidates []*candidate) table {
	t := table{
		title: fmt.Sprintf("%d connections", s.connections),
		columns: []string{
			"candidate", "CPU us", "CPU of nginx's", "req/s of nginx's", "p50 us", "p99 us", "p99.9 us", "memcached CPU us", "get + write", "allocations", "sessions",
		},
	}
	for _, c := range candidates {
		t.add(s.row(c)...)
	}
	return t
}

func (s series) row(c *candidate) []string {
	median := func(of figure) float64 { return s.of(c.name, of).median }
	row := []string{c.name, "", "", s.ratio(c.name, nginxPlain, rate).String()}
	if c.process != nil {
		row[1], row[2] = fmt.Sprintf("%.1f", median(cpu)), s.ratio(c.name, nginxPlain, cpu).String()
	}
	for _, of := range []figure{
		func(t turn) float64 { return t.p50 },
		func(t turn) float64 { return t.p99 },
		func(t turn) float64 { return t.p999 },
	} {
		row = append(row, fmt.Sprintf("%.0f", median(of)))
	}
	used, operations, objects, sessions := "", "", "", ""
	if len(c.nodes) > 0 {
		used = fmt.Sprintf("%.1f", median(func(t turn) float64 { return t.memcached }))
		operations = fmt.Sprintf("%.2f + %.2f", median(func(t turn) float64 { return t.gets }), median(func(t turn) float64 { return t.writes }))
	}
	if c.pillion() != nil {
		objects = fmt.Sprintf("%.1f", median(allocated))
	}
	if c.does.session {
		var saw seen
		for _, t := range s.turns[c.name] {
			saw = saw.plus(t.saw)
		}
		sessions = fmt.Sprintf("%d of %d, %d B", saw.sessions, saw.requests, saw.bytes/max(saw.sessions, 1))
	}
	return append(row, used, operations, objects, sessions)
}
