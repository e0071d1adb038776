// Package governor gives the process as many threads and as much room for garbage as its load needs, and no more.
//
// The Go runtime takes all cores from the start and wakes a thread for each request that comes while another one is served; beside an app such a
// wake-up costs more than the request waits for. And it sizes its garbage by the heap alone, so that a small heap is collected all the time and a
// large one holds as much again. Both are measured in docs/performance.md. GOMAXPROCS and GOGC, where they are set, stay as they are.
package governor

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"syscall"
	"time"
)

const (
	// look is how often the load is looked at, and so how long a burst may have too few threads.
	look = 100 * time.Millisecond
	// calm is for how many looks on end fewer threads must have been enough before one is taken away.
	calm = 20
)

// cores is how many threads the runtime has by itself: those of the machine, or of the limit of its container.
var cores = runtime.GOMAXPROCS(0)

// Run governs until ctx ends.
func Run(ctx context.Context) {
	threads, garbage := os.Getenv("GOMAXPROCS") == "", os.Getenv("GOGC") == ""
	if threads {
		defer runtime.GOMAXPROCS(cores)
		runtime.GOMAXPROCS(1)
	}
	heap := goDefault
	if garbage {
		heap.follow(liveHeap())
	}
	load := load{at: time.Now(), used: processTime()}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if threads {
				load.follow(now, processTime())
			}
			if garbage {
				heap.follow(liveHeap())
			}
		}
	}
}

// load is what the process used of its threads.
type load struct {
	at    time.Time
	used  time.Duration // processor time up to then
	quiet int           // looks on end at which fewer threads would have been enough
}

func (l *load) follow(now time.Time, used time.Duration) {
	busy := float64(used-l.used) / float64(now.Sub(l.at))
	l.at, l.used = now, used
	was := runtime.GOMAXPROCS(0)
	if n := l.threads(was, busy); n != was {
		runtime.GOMAXPROCS(n)
	}
}

// threads says how many there should be, of which busy were used: twice as many at once when they were nearly all used, for a burst must not
// wait for one more at a time, and one less when fewer have been enough for a while.
func (l *load) threads(n int, busy float64) int {
	if busy > 0.9*float64(n) {
		l.quiet = 0
		return min(2*n, cores)
	}
	if n == 1 || busy > 0.75*float64(n-1) {
		l.quiet = 0
		return n
	}
	if l.quiet++; l.quiet < calm {
		return n
	}
	l.quiet = 0
	return n - 1
}

// processTime is the user and system time of all threads.
func processTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

const (
	// least is GOGC for a large heap. Most of it are sessions, which hold no pointers and are cheap to pass over; spare room for as much again would
	// cost more than looking twice as often.
	least = 40
	// most is GOGC for a heap of a few megabytes, which has room for that much garbage at any rate.
	most = 400
	room = 16 << 20
)

// gogc is how much the heap may grow before garbage is collected, in percent.
type gogc int

const goDefault = gogc(100)

// follow gives the heap the larger of room and least percent. Setting GOGC stops the world for a moment, so small steps are not made.
func (g *gogc) follow(live uint64) {
	p := percent(live)
	if d := p - int(*g); 8*max(d, -d) < int(*g) && p != least {
		return
	}
	if p != int(*g) {
		debug.SetGCPercent(p)
		*g = gogc(p)
	}
}

func percent(live uint64) int {
	return int(min(max(100*room/max(live, 1), least), most))
}

// liveHeap is what the last collection found in use.
func liveHeap() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
