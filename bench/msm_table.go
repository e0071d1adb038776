package main

import "fmt"

// tomcatTable has a row for each candidate.
func (s series) tomcatTable(candidates []*candidate) table {
	t := table{
		title:   fmt.Sprintf("Tomcat, %d connections", s.connections),
		columns: []string{"candidate", "JVM CPU us", "sidecar CPU us", "memcached CPU us", "get + write", "requests/s", "p50 us", "p99 us", "p99.9 us"},
	}
	for _, c := range candidates {
		median := func(of figure) float64 { return s.of(c.name, of).median }
		jvm, sidecar := fmt.Sprintf("%.1f", median(cpu)), ""
		if c.behind != nil {
			jvm, sidecar = fmt.Sprintf("%.1f", median(behind)), jvm
		}
		t.add(c.name, jvm, sidecar, fmt.Sprintf("%.1f", median(inMemcached)),
			fmt.Sprintf("%.2f + %.2f", median(func(t turn) float64 { return t.gets }), median(func(t turn) float64 { return t.writes })),
			fmt.Sprintf("%.0f", median(rate)), fmt.Sprintf("%.0f", median(func(t turn) float64 { return t.p50 })),
			fmt.Sprintf("%.0f", median(func(t turn) float64 { return t.p99 })), fmt.Sprintf("%.0f", median(func(t turn) float64 { return t.p999 })))
	}
	return t
}

func behind(t turn) float64      { return t.behind }
func inMemcached(t turn) float64 { return t.memcached }

// more is the spread of what a figure of one candidate is above another's in the same round.
func (s series) more(name string, of figure, than string, other figure) spread {
	var all []float64
	for i, t := range s.turns[name] {
		all = append(all, of(t)-other(s.turns[than][i]))
	}
	return spreadOf(all)
}

// msmTable compares: what msm adds to the JVM's CPU time of a request, and what a sidecar costs, and how the JVM's differs behind it. The ratio is
// of medians, for a difference of two figures may be near nothing in a round.
func (s series) msmTable() table {
	t := table{title: "What sessions cost, microseconds of CPU a request", columns: []string{"request", "msm adds in the JVM", "a sidecar takes", "sidecar / msm", "goal",
		"the JVM behind it takes more", "memcached: msm, sidecar"}}
	for _, mode := range msmModes {
		for _, p := range msmPaths {
			alone, inside, hop := "Tomcat alone, "+p.name, "msm "+mode.name+", "+p.name, "Pillion "+mode.name+", "+p.name
			adds, takes := s.more(inside, cpu, alone, cpu), s.of(hop, cpu)
			ratio := "-"
			if adds.median > 0 {
				ratio = fmt.Sprintf("%.2f", takes.median/adds.median)
			}
			t.add(mode.name+", "+p.name, adds.String(), takes.String(), ratio, fmt.Sprintf("%.2f", mode.goal), s.more(hop, behind, alone, cpu).String(),
				fmt.Sprintf("%.1f, %.1f", s.of(inside, inMemcached).median, s.of(hop, inMemcached).median))
		}
	}
	return t
}
