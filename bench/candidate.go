package main

import (
	"fmt"
	"slices"
)

// app is what stands behind the candidates: it counts what it saw.
type app interface{ seen() (seen, error) }

// candidate is what stands between wrk and the app, and what must have happened when wrk was done.
type candidate struct {
	name     string
	url      string // with the path
	cookies  string // file with one in each line
	process  *process
	app      app
	sidecars []*server // that serve it; each request must be a session of theirs
	front    *server   // before them, if that is a Pillion front
	nodes    []*node
	behind   *process // the app's process, if it has one of its own
	does     work
}

// work is what a candidate must be seen doing for each request: no less than this, by the counters of the servers concerned.
type work struct {
	session      bool    // the app is given a session
	commit       bool    // the sidecar commits a change
	gets, writes float64 // memcached operations
}

// reading is what the counters around a candidate say at a moment.
type reading struct {
	cpu, memcached, behind float64 // microseconds
	app                    seen
	asked                  operations
	sessions, commits      float64 // of the sidecars
	passed, strayed        float64 // by the front; sessions that left their home
	allocations            float64
}

// before reads the counters of CPU time last, and after reads them first: what bench asks is not in the figure. What being asked allocates is
// told by asking twice, and taken off.
func (c *candidate) before() (r reading, err error) {
	var first reading
	if err = c.count(&first); err != nil {
		return r, err
	}
	if err = c.count(&r); err != nil {
		return r, err
	}
	r.allocations += r.allocations - first.allocations
	return r, c.clock(&r)
}

func (c *candidate) after() (r reading, err error) {
	if err = c.clock(&r); err != nil {
		return r, err
	}
	return r, c.count(&r)
}

func (c *candidate) clock(r *reading) (err error) {
	if r.cpu, err = c.process.micros(); err != nil {
		return err
	}
	if r.behind, err = c.behind.micros(); err != nil {
		return err
	}
	for _, n := range c.nodes {
		used, err := n.micros()
		if err != nil {
			return err
		}
		r.memcached += used
	}
	return nil
}

func (c *candidate) count(r *reading) (err error) {
	if r.app, err = c.app.seen(); err != nil {
		return err
	}
	if r.asked, err = asked(c.nodes); err != nil {
		return err
	}
	for _, s := range c.sidecars {
		told, err := fetchCounters(s.admin)
		if err != nil {
			return err
		}
		r.sessions += told[sessionRequests]
		r.commits += told[commits]
		r.strayed += told[takeovers] + told[forwards]
		if s.process == c.process {
			r.allocations = told[allocations]
		}
	}
	if c.front != nil {
		told, err := fetchCounters(c.front.admin)
		if err != nil {
			return err
		}
		r.passed, r.allocations = told.of(frontRequests), told[allocations] // a front is measured wherever there is one
	}
	return nil
}

// pillion is the Pillion process that is measured, nil where something else is.
func (c *candidate) pillion() *server {
	for _, s := range append([]*server{c.front}, c.sidecars...) {
		if s != nil && s.process == c.process {
			return s
		}
	}
	return nil
}

// judge tells what was missing between two readings in which wrk had some requests answered; those under way when it ended may be anywhere. A
// round with anything missing gives no figure.
func (c *candidate) judge(before, after reading, requests int64) error {
	saw := after.app.since(before.app)
	n := float64(requests)
	ops := after.asked.since(before.asked)
	var missing []string
	least := func(what string, got, want float64) {
		if got < want {
			missing = append(missing, fmt.Sprintf("%s %.0f, want %.0f", what, got, want))
		}
	}
	least("requests at the app", float64(saw.requests), n)
	if c.does.session {
		least("requests with a session at the app", float64(saw.sessions), float64(saw.requests))
	}
	if len(c.sidecars) > 0 {
		least("sessions served by the sidecar", after.sessions-before.sessions, n)
		least("sessions that stayed at home", n-(after.strayed-before.strayed), n)
	}
	if c.does.commit {
		least("commits", after.commits-before.commits, n)
	}
	if c.front != nil {
		least("requests passed on by the front", after.passed-before.passed, n)
	}
	least("memcached gets", float64(ops.gets), c.does.gets*n)
	least("memcached writes", float64(ops.writes), c.does.writes*n)
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("%s: %q", c.name, missing)
}
