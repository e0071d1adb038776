package main

import (
	"fmt"
	"sync"
)

// parallel: 10 visitors, each of which sends 100 requests at once, all with one attribute or each with its own.
func parallel(t *trial, query string, own bool) {
	t.overlap = true
	var all []*visitor
	for range t.count(10, 3) {
		v := newVisitor(t)
		v.increment("count", "")
		all = append(all, v)
		var requests sync.WaitGroup
		for i := range 100 {
			attribute := "count"
			if own {
				attribute = fmt.Sprintf("a%d", i)
			}
			requests.Go(func() { v.increment(attribute, query) })
		}
		requests.Wait()
	}
	t.audit(all)
}
