package main

import (
	"fmt"
	"strings"
	"time"
)

// row is one kind of harm.
type row struct {
	name     string
	plan     plan
	variants []variant
	do       func(*trial)
	physics  bool // what is lost here nothing can keep; the row says itself what must hold
}

// variant is a mode in which a row runs, and what msm lost in it.
type variant struct {
	mode  string // sticky or shared, and the lock
	flags []string
	msm   string
}

// kept tells whether a result keeps what Pillion promises.
func (r row) kept(res result) error {
	var broken []string
	for _, c := range []struct {
		what string
		n    int
	}{{"lost", res.lost}, {"went back", res.wentBack}, {"resurrected", res.resurrected}} {
		if c.n > 0 && !r.physics {
			broken = append(broken, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	broken = append(broken, res.problems...)
	if len(broken) > 0 {
		return fmt.Errorf("%s", strings.Join(broken, "; "))
	}
	return nil
}

// both runs a row in both modes.
func both(sticky, shared string) []variant {
	return []variant{{mode: "sticky", msm: sticky}, {mode: "shared", msm: shared}}
}

var lockAll = []variant{{"sticky lock all", []string{"--lock=all"}, "-"}, {"shared lock all", []string{"--lock=all"}, "-"}}

const think = 50 * time.Millisecond

var rows = []row{
	{name: "own-attributes", variants: both("0", "375 to 924"), do: func(t *trial) { parallel(t, "", true) }},
	{name: "own-attributes-5ms", variants: both("0", "604 to 720"), do: func(t *trial) { parallel(t, "&delay=5", true) }},
	{name: "same-attribute-5ms", do: func(t *trial) { parallel(t, "&delay=5", false) }, variants: []variant{
		{"sticky lock all", []string{"--lock=all"}, "970 (no lock)"},
		{"shared lock all", []string{"--lock=all"}, "896"},
		{"shared lock auto", []string{"--lock=auto"}, "876"},
	}},
	{name: "lock-holder-killed", variants: lockAll, do: lockHolderKilled},
	{name: "lock-holder-frozen", variants: lockAll, do: lockHolderFrozen},
	{name: "lock-node-killed", variants: lockAll, do: lockNodeKilled},
	{name: "node-killed", variants: both("0", "112, 2 sessions"), do: nodeKilled},
	{name: "nodes-in-turn", variants: both("0", "50 of 50 sessions"), do: nodesInTurn},
	{name: "node-frozen", variants: both("0; slowest 1.0 s", "0; slowest 2.0 s"), do: nodeFrozen},
	{name: "nodes-flushed", variants: both("-", "-"), do: nodesFlushed},
	{name: "node-evicts", plan: plan{flags: largeSessions, nodeArgs: []string{"-m", "4"}}, variants: both("-", "-"), do: nodeEvicts},
	{name: "node-crowded", plan: plan{nodeArgs: []string{"-c", "40"}}, variants: both("-", "-"), do: nodeCrowded},
	{name: "node-warm", plan: plan{warm: true}, variants: both("-", "-"), do: nodeWarm},
	{name: "node-slow", plan: plan{linked: true}, variants: both("-", "-"), do: nodeSlow},
	{name: "node-lies", plan: plan{linked: true}, variants: both("-", "-"), do: nodeLies},
	{name: "node-another", plan: plan{linked: true, spare: true}, variants: both("-", "-"), do: nodeAnother},
	{name: "rings-differ", plan: plan{differ: true}, variants: []variant{{mode: "sticky", msm: "-"}}, do: ringsDiffer},
	{name: "rings-differ", plan: plan{differ: true}, variants: []variant{{mode: "shared", msm: "-"}}, do: ringsDiffer, physics: true},
	{name: "split", plan: plan{walled: true}, variants: both("-", "-"), do: split},
	{name: "ring-frozen", variants: both("0", "-"), do: ringFrozen},
	{name: "ring-emptied", variants: both("0", "100 %"), do: ringEmptied, physics: true},
	{name: "expired-cookies", plan: plan{flags: []string{"--ring-unknown-for=" + unknownFor.String()}}, variants: both("-", "-"), do: expiredCookies},
	{name: "sidecar-killed", variants: both("0; 11 sessions stale at rest", "3"), do: sidecarKilled},
	{name: "sidecar-killed", variants: []variant{
		{"sticky commit all", []string{"--commit=all"}, "-"},
		{"shared commit all", []string{"--commit=all"}, "-"},
	}, do: sidecarKilled},
	{name: "sidecar-killed", physics: true, variants: []variant{
		{"sticky commit async", []string{"--commit=async"}, "11 of 100 stale"},
		{"shared commit async", []string{"--commit=async"}, "-"},
	}, do: sidecarKilled},
	{name: "home-and-node-killed", variants: []variant{
		{"shared", nil, "-"},
		{"sticky commit all", []string{"--commit=all"}, "-"},
		{"shared commit all", []string{"--commit=all"}, "-"},
	}, do: homeAndNodeKilled},
	{name: "home-and-node-killed", physics: true, variants: []variant{
		{"sticky", nil, "25 of 50 sessions"},
		{"sticky commit async", []string{"--commit=async"}, "25 of 50 sessions"},
		{"sticky copies 1", []string{"--copies=1"}, "25 of 50 sessions"},
	}, do: homeAndNodeKilled},
	{name: "clock-ahead", plan: plan{early: true}, variants: both("-", "-"), do: clockAhead},
	{name: "sidecar-frozen", variants: both("-", "-"), do: sidecarFrozen},
	{name: "sidecars-rolled", variants: both("0, 27 failed", "0, 5 failed"), do: sidecarsRolled},
	{name: "round-robin", plan: plan{robin: true, nginx: true}, variants: []variant{{mode: "sticky", msm: "forks"}}, do: roundRobin},
	{name: "logouts", variants: both("-", "99 % revived"), do: logouts},
	{name: "logouts-paused", variants: both("-", "-"), do: logoutsPaused},
	{name: "logouts-paused", plan: plan{alone: true}, variants: []variant{{mode: "shared, no peers", msm: "-"}}, do: logoutsPaused},
	{name: "renewals-paused", plan: plan{flags: renewGrace}, variants: both("-", "-"), do: renewalsPaused},
	{name: "renewals-paused", plan: plan{flags: renewGrace, alone: true}, variants: []variant{{mode: "shared, no peers", msm: "-"}}, do: renewalsPaused},
	{name: "ids-replayed", plan: plan{flags: renewGrace}, variants: both("-", "-"), do: idsReplayed},
	{name: "fronts-killed", plan: plan{fronted: true}, variants: both("-", "-"), do: frontsKilled},
	{name: "mixed", variants: both("-", "-"), do: mixed},
}

// largeSessions lets the app see sessions above 4 KiB in a header: the counter app has no loopback API here.
var largeSessions = []string{"--session-inline-max=16KiB"}

// renewGrace is short, so that a row sees its end.
var renewGrace = []string{"--session-renew-grace=" + grace.String()}
