package main

import (
	"fmt"
)

// budget is a goal of the design, and the limit above which check fails.
type budget struct {
	what        string
	of          func(*results) (spread, bool) // false where it was not measured
	candidates  []string                      // that it is about
	goal, limit float64
	timed       bool // moves with the machine's load, as what is done in the background does for each of few requests: a margin is granted
}

// budgets are ordered as the design lists them. A limit is what today's code keeps, with a third to spare for CPU time.
var budgets = []budget{
	cpuBudget(stickyRead, nginxPlain, 0.85, 1.6),
	cpuBudget(asyncWrite, nginxPlain, 1.2, 3),
	cpuBudget(stickyWrite, luaFour, 0.6, 1.2),
	cpuBudget(sharedRead, luaGet, 0.75, 1.1),
	cpuBudget(frontRead, nginxBalances, 0.85, 1.3),
	cpuBudget(stickyTLS, nginxTLS, 1, 1.7),
	allocationBudget(stickyRead, 2, 2),
	idleBudget(stickyRead, 4, 5),
	idleBudget(frontRead, 4, 5),
	operationBudget("sticky, copies 2, read", 0, 0.15),
	operationBudget("sticky, copies 2, write", 4, 4.25),
	operationBudget("sticky, copies 1, read", 0, 0.15),
	operationBudget("sticky, copies 1, write", 2, 2.15),
	operationBudget("shared, read", 1, 1.15),
	operationBudget("shared, write", 4, 4.25),
}

// cpuBudget is about the CPU time of a request, over another candidate's, with the first number of connections.
func cpuBudget(name, against string, goal, limit float64) budget {
	return budget{
		what: fmt.Sprintf("CPU: %s / %s", name, against), candidates: []string{name, against}, goal: goal, limit: limit, timed: true,
		of: func(r *results) (spread, bool) {
			if !r.series[0].measured(name, against) {
				return spread{}, false
			}
			return r.series[0].ratio(name, against, cpu), true
		},
	}
}

func allocationBudget(name string, goal, limit float64) budget {
	return budget{
		what: "allocations of a request: " + name, candidates: []string{name}, goal: goal, limit: limit, timed: true,
		of: func(r *results) (spread, bool) {
			return r.series[0].of(name, allocated), r.series[0].measured(name)
		},
	}
}

func idleBudget(name string, goal, limit float64) budget {
	return budget{
		what: "KiB in use by an idle connection: " + name, candidates: []string{name}, goal: goal, limit: limit,
		of: func(r *results) (spread, bool) {
			m, ok := r.idle[name]
			return spreadOf([]float64{m.steady()}), ok
		},
	}
}

func operationBudget(name string, goal, limit float64) budget {
	return budget{
		what: "memcached operations: " + name, goal: goal, limit: limit,
		of: func(r *results) (spread, bool) {
			n, ok := r.operations[name]
			return spreadOf([]float64{n}), ok
		},
	}
}

// budgetTable has a row for each goal that was measured. broken lists those above their limit, timed ones above margin times that.
func (r *results) budgetTable(margin float64) (t table, broken []string) {
	t = table{title: "Goals", columns: []string{"figure", "measured", "goal", "limit"}}
	for _, b := range budgets {
		measured, ok := b.of(r)
		if !ok {
			continue
		}
		limit := b.limit
		if b.timed {
			limit *= margin
		}
		t.add(b.what, measured.String(), fmt.Sprintf("%.2f", b.goal), fmt.Sprintf("%.2f", limit))
		if measured.median > limit {
			broken = append(broken, fmt.Sprintf("%s: %s, at most %.2f", b.what, measured, limit))
		}
	}
	return t, broken
}

// budgeted tells whether a candidate is in a budget.
func budgeted(p peer) bool {
	for _, b := range budgets {
		for _, name := range b.candidates {
			if name == p.name {
				return true
			}
		}
	}
	return false
}
