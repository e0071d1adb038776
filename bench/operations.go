package main

import (
	"fmt"
	"time"
)

const (
	operationRequests = 500
	operationVisitors = 20 // in turn: one alone would come back before the second copy of its last change is written
	idleWindow        = 2 * time.Second
)

// measureOperations counts what memcached is asked for one request. The sidecar also polls each node's canary, on its own time: an idle
// window tells how often, and that is taken off.
func measureOperations(l *lab) (table, map[string]float64, error) {
	t := table{title: "memcached operations of a request", columns: []string{"sidecar", "get", "write", "sum", "detail"}}
	sums := map[string]float64{}
	for _, mode := range []struct {
		name     string
		settings []string
	}{
		{"sticky, copies 2", nil},
		{"sticky, copies 1", []string{"--copies=1"}},
		{"shared", []string{"--sticky=false"}},
	} {
		progress("memcached operations, %s", mode.name)
		f, err := l.startFleet(mode.settings...)
		if err != nil {
			return t, nil, err
		}
		err = f.measureOperations(&t, sums, mode.name)
		f.stop()
		if err != nil {
			return t, nil, fmt.Errorf("memcached operations, %s: %w", mode.name, err)
		}
	}
	return t, sums, nil
}

func (f *fleet) measureOperations(t *table, sums map[string]float64, mode string) error {
	base := "http://" + f.sidecars[0].address
	cookies, err := newSessions(base, operationVisitors)
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, path string }{{"read", readPath}, {"write", writePath}} {
		before := f.app.counted()
		busy, err := f.during(func() error {
			for i := range operationRequests {
				if _, err := visit(base+c.path, cookies[i%len(cookies)]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if saw := f.app.counted().since(before); saw.sessions != operationRequests {
			return fmt.Errorf("%d of %d requests had a session", saw.sessions, operationRequests)
		}
		idle, err := f.during(func() error { time.Sleep(idleWindow); return nil })
		if err != nil {
			return err
		}
		gets, writes := busy.over(idle)
		name := mode + ", " + c.name
		sums[name] = gets + writes
		t.add(name, fmt.Sprintf("%.2f", gets), fmt.Sprintf("%.2f", writes), fmt.Sprintf("%.2f", gets+writes),
			fmt.Sprintf("%d requests, polls of %.0f/s taken off", operationRequests, idle.rate()))
	}
	return nil
}

// window is what all nodes of a fleet were asked in some time.
type window struct {
	took time.Duration
	operations
}

// during counts while work is done.
func (f *fleet) during(work func() error) (window, error) {
	before, err := asked(f.nodes)
	if err != nil {
		return window{}, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return window{}, err
	}
	took := time.Since(start)
	after, err := asked(f.nodes)
	return window{took, after.since(before)}, err
}

// over returns the operations of one request, without what an idle sidecar asks in the same time.
func (w window) over(idle window) (gets, writes float64) {
	share := w.took.Seconds() / idle.took.Seconds()
	gets = (float64(w.gets) - share*float64(idle.gets)) / operationRequests
	writes = (float64(w.writes) - share*float64(idle.writes)) / operationRequests
	return max(gets, 0), max(writes, 0)
}

// rate is how many operations a second there were.
func (w window) rate() float64 { return float64(w.gets+w.writes) / w.took.Seconds() }
