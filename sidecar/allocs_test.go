//go:build !race

package sidecar

import "testing"

// What the engine takes from the heap for a request: Pillion-Meta, whose time of expiry moves on. Nothing for visitors without a session.
func TestAllocations(t *testing.T) {
	for _, sticky := range []bool{true, false} {
		h := benched(t, sticky)
		var e exchange
		own := e.bear(t, h)
		for _, row := range []struct {
			cookie string
			most   float64
		}{{"theme=dark; " + own, 1}, {own + "; theme=dark", 1}, {"a=1; " + own + "; b=2", 2}, {"theme=dark", 0}, {"", 0}} {
			n := testing.AllocsPerRun(200, func() { e.drive(t, h, row.cookie, "") })
			if n > row.most {
				t.Errorf("sticky %v, Cookie %.30s: %v allocations, at most %v are needed", sticky, row.cookie, n, row.most)
			}
		}
	}
}
