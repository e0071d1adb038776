package governor

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// withCores has the machine have n of them.
func withCores(t *testing.T, n int) {
	was := cores
	cores = n
	t.Cleanup(func() { cores = was })
}

func TestThreadsFollowTheLoad(t *testing.T) {
	withCores(t, 6)
	var l load
	n := 1
	for _, step := range []struct {
		busy  float64
		looks int
		want  int
	}{
		{0, 1, 1}, {0.85, 50, 1}, // one is enough
		{0.95, 1, 2}, {2, 1, 4}, {4, 1, 6}, {6, 5, 6}, // a burst gets twice as many at each look, and never more than there are
		{3, calm - 1, 6}, {3, 1, 5}, {3, calm, 4}, {3, 100, 4}, // what was enough for a while is given back, one by one
		{0, calm - 1, 4}, {2.9, 1, 4}, {0, calm - 1, 4}, {0, 1, 3}, // a busy look begins the while anew
		{0, 10 * calm, 1},
	} {
		for range step.looks {
			n = l.threads(n, step.busy)
		}
		if n != step.want {
			t.Fatalf("%d looks at %.2f of them busy: %d threads; want %d", step.looks, step.busy, n, step.want)
		}
	}
}

func TestTheOnlyCore(t *testing.T) {
	withCores(t, 1)
	var l load
	if n := l.threads(1, 1); n != 1 {
		t.Errorf("%d threads on one core", n)
	}
}

func TestRoomForGarbage(t *testing.T) {
	for live, want := range map[uint64]int{0: most, 1 << 20: most, 8 << 20: 200, 16 << 20: 100, 40 << 20: least, 2 << 30: least} {
		if got := percent(live); got != want {
			t.Errorf("%d bytes in use: GOGC=%d; want %d", live, got, want)
		}
	}
}

func TestSmallStepsAreNotMade(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	g := goDefault
	for _, step := range []struct {
		live uint64
		want gogc
	}{{15 << 20, 100}, {8 << 20, 200}, {8<<20 + 1<<18, 200}, {38 << 20, 42}, {41 << 20, least}, {39 << 20, least}} {
		g.follow(step.live)
		if g != step.want {
			t.Errorf("%d bytes in use: GOGC=%d; want %d", step.live, g, step.want)
		}
	}
}

// The runtime itself: one thread at first, all of them again at the end, and what the environment says is left alone.
func TestRun(t *testing.T) {
	for name, c := range map[string]struct{ variable, value string }{"nothing is set": {"GOGC", ""}, "GOMAXPROCS": {"GOMAXPROCS", "7"}, "GOGC": {"GOGC", "77"}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOMAXPROCS", "")
			t.Setenv("GOGC", "")
			t.Setenv(c.variable, c.value) // the runtime has read it long ago: what it then does is for the governor to leave alone
			defer debug.SetGCPercent(debug.SetGCPercent(77))
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				Run(ctx)
			}()
			want := 1
			if os.Getenv("GOMAXPROCS") != "" {
				want = cores
			}
			for deadline := time.Now().Add(10 * time.Second); runtime.GOMAXPROCS(0) != want; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("%d threads; want %d", runtime.GOMAXPROCS(0), want)
				}
			}
			stop()
			<-ended
			if n := runtime.GOMAXPROCS(0); n != cores {
				t.Errorf("%d threads when it has ended; want %d", n, cores)
			}
			if left := debug.SetGCPercent(77) == 77; left != (os.Getenv("GOGC") != "") {
				t.Errorf("GOGC is left alone: %v", left)
			}
		})
	}
}
