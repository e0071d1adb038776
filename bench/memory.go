package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// idleMemory is what a process tree holds for connections that wait for their next request.
type idleMemory struct {
	connections   int
	before, after float64 // MiB, proportional set size
	inUse         float64 // MiB more in use by a Go program, after a collection; below 0 where it was not asked
}

// each is the KiB of one connection.
func (m idleMemory) each(mib float64) float64 { return mib * 1024 / float64(m.connections) }

// steady is the KiB of one connection that has waited for long: a Go program keeps for minutes what it needed to open many at once.
func (m idleMemory) steady() float64 {
	if m.inUse >= 0 {
		return m.each(m.inUse)
	}
	return m.each(m.after - m.before)
}

// memory is the proportional set size of the process tree, in MiB: pages that several processes share count once.
func (p *process) memory() (float64, error) {
	tree, err := p.tree()
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, pid := range tree {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "Pss:"); ok {
				kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
				if err != nil {
					return 0, err
				}
				sum += kib / 1024
			}
		}
	}
	return sum, nil
}

// inUse is what heap and stacks of a Go program use after a collection, in MiB. The second collection empties its pools.
func (s *server) inUse() (float64, error) {
	for range 2 {
		if err := fetch("http://"+s.admin+"/debug/pprof/heap?gc=1", io.Discard); err != nil {
			return 0, err
		}
	}
	told, err := fetchCounters(s.admin)
	return (told["go_memstats_heap_inuse_bytes"] + told["go_memstats_stack_inuse_bytes"]) / (1 << 20), err
}

// idleTable has a row for each candidate that was measured.
func idleTable(candidates []*candidate, measured map[string]idleMemory) table {
	t := table{title: "Idle connections", columns: []string{"candidate", "connections", "MiB before", "MiB with them", "KiB each", "KiB each in use"}}
	for _, c := range candidates {
		m, ok := measured[c.name]
		if !ok {
			continue
		}
		used := ""
		if m.inUse >= 0 {
			used = fmt.Sprintf("%.1f", m.steady())
		}
		t.add(c.name, fmt.Sprint(m.connections), fmt.Sprintf("%.1f", m.before), fmt.Sprintf("%.1f", m.after), fmt.Sprintf("%.1f", m.each(m.after-m.before)), used)
	}
	return t
}
