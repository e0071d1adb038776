//go:build !race

package sim_test

import (
	"slices"
	"testing"

	"github.com/pillion-proxy/pillion/test/sim"
)

// One seed is one history, or whoever debugs it chases a ghost. Goroutines that wake at the very same instant are run in an order that
// nobody decides; that makes some seeds tell two stories. The race detector has them run in any order on purpose, so it is left out.
func TestSeedsRepeat(t *testing.T) {
	const all, most = 60, 40
	same := 0
	for n := uint64(1); n <= all; n++ {
		s := sim.Draw(n)
		if slices.Equal(run(t, s, sim.Options{Keep: true}).History, run(t, s, sim.Options{Keep: true}).History) {
			same++
		}
	}
	if same < most {
		t.Errorf("%d of %d seeds repeat, want %d", same, all, most)
	}
}
