package main

import (
	"fmt"
	"time"
)

const (
	operationRequests = 500
	idleWindow        = 2 * time.Second
)

// measureOperations counts what memcached is asked for one request. The sidecar also polls each node's canary, on its own time: an idle
// window tells how often, and that is taken off.
func measureOperations(l *lab, t *table) error {
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
			return err
		}
		err = f.measureOperations(t, mode.name)
		f.stop()
		if err != nil {
			return fmt.Errorf("memcached operations, %s: %w", mode.name, err)
		}
	}
	return nil
}

func (f *fleet) measureOperations(t *table, mode string) error {
	cookies, err := f.newSessions(1)
	if err != nil {
		return err
	}
	for _, c := range []struct{ name, path string }{{"read", readPath}, {"write", writePath}} {
		before := f.app.seen()
		busy, err := f.during(func() error {
			for range operationRequests {
				if _, err := f.visit(c.path, cookies[0]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if saw := f.app.seen().since(before); saw.sessions != operationRequests {
			return fmt.Errorf("%d of %d requests had a session", saw.sessions, operationRequests)
		}
		idle, err := f.during(func() error { time.Sleep(idleWindow); return nil })
		if err != nil {
			return err
		}
		gets, writes := busy.over(idle)
		t.add(fmt.Sprintf("memcached operations, %s, %s", mode, c.name), fmt.Sprintf("%.2f per request", gets+writes), "", "",
			fmt.Sprintf("%.2f get, %.2f write; %d requests, polls of %.0f/s taken off", gets, writes, operationRequests, idle.rate()))
	}
	return nil
}

// window is what all nodes of a fleet were asked in some time.
type window struct {
	took         time.Duration
	gets, writes int64
}

// during counts while work is done.
func (f *fleet) during(work func() error) (window, error) {
	gets, writes, err := f.asked()
	if err != nil {
		return window{}, err
	}
	start := time.Now()
	if err := work(); err != nil {
		return window{}, err
	}
	w := window{took: time.Since(start)}
	w.gets, w.writes, err = f.asked()
	w.gets -= gets
	w.writes -= writes
	return w, err
}

// asked sums the nodes' counters: cmd_get has get and gets, cmd_set has set, add and cas, whether they succeeded or not.
func (f *fleet) asked() (gets, writes int64, err error) {
	for _, n := range f.nodes {
		stats, err := n.stats()
		if err != nil {
			return 0, 0, err
		}
		gets += stats["cmd_get"]
		writes += stats["cmd_set"] + stats["cmd_touch"]
	}
	return gets, writes, nil
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
