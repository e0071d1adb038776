package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// results are what was measured of Pillion and its peers.
type results struct {
	candidates []*candidate
	series     []series
	idle       map[string]idleMemory
	operations map[string]float64
	tables     []table // of codec and operations
}

// peers measures everything and prints it at last, or nothing of it.
func (o options) peers(l *lab) error {
	r, err := o.measure(l, func(peer) bool { return true })
	if err != nil {
		return err
	}
	if o.only == nil {
		codec, err := measureCodec()
		if err != nil {
			return err
		}
		r.tables = append(r.tables, codec)
	}
	_, err = r.print(o.margin)
	return err
}

// check measures what has a budget, and fails when it is not kept.
func (o options) check(l *lab) error {
	o.connections = o.connections[:1]
	r, err := o.measure(l, budgeted)
	if err != nil {
		return err
	}
	broken, err := r.print(o.margin)
	if err == nil && len(broken) > 0 {
		err = fmt.Errorf("above the limit:\n%s", strings.Join(broken, "\n"))
	}
	return err
}

// measure puts load on the peers that are wanted, and not to be left out, and reads their memory.
func (o options) measure(l *lab, wanted func(peer) bool) (*results, error) {
	r := &results{idle: map[string]idleMemory{}}
	if o.only == nil {
		counted, sums, err := measureOperations(l)
		if err != nil {
			return nil, err
		}
		r.tables, r.operations = append(r.tables, counted), sums
	}
	s, err := newStage(l)
	if err != nil {
		return nil, err
	}
	if r.candidates, err = s.begin(func(p peer) bool { return wanted(p) && o.wants(p) }); err != nil {
		return nil, err
	}
	for _, c := range r.candidates {
		if !slices.Contains([]string{nginxPlain, haproxyPlain, envoyPlain, stickyRead, stickyTLS, nginxTLS, frontRead}, c.name) {
			continue
		}
		progress("%d idle connections: %s", o.idle, c.name)
		if r.idle[c.name], err = l.idle(c, o.idle); err != nil {
			return nil, err
		}
	}
	if r.series, err = o.load(l, r.candidates); err != nil {
		return nil, err
	}
	if o.profiles != "" {
		err = l.profile(r.candidates, o.profiles, o.connections[0])
	}
	return r, err
}

// print prints all tables, and returns the budgets that were left.
func (r *results) print(margin float64) (broken []string, err error) {
	var all []table
	for _, s := range r.series {
		all = append(all, s.table(r.candidates))
	}
	all = append(all, idleTable(r.candidates, r.idle))
	all = append(all, r.tables...)
	goals, broken := r.budgetTable(margin)
	for _, t := range append(all, goals) {
		if len(t.rows) == 0 {
			continue
		}
		if err := t.print(os.Stdout); err != nil {
			return nil, err
		}
	}
	return broken, nil
}
