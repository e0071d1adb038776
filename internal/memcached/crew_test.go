package memcached

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// However much there was to do at once, few wait for more, and none is left at the end: the bubble would not end either.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew()
		var did atomic.Int32
		for range 3 {
			begin := make(chan struct{})
			for range 3 * idleMost {
				c.Go(func() {
					<-begin
					did.Add(1)
				})
			}
			close(begin)
			synctest.Wait()
			if idle := c.idle.Load(); idle != idleMost {
				t.Errorf("%d are idle", idle)
			}
		}
		c.end()
		c.end()
		if did.Load() != 9*idleMost {
			t.Errorf("%d works were done", did.Load())
		}
	})
}
