package sidecar_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// An app that makes and deletes attributes without end does not grow its session without bound: the stamps of old deletions go, in the ring
// and in memory.
func TestDeletionsAreForgotten(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"kept":1}`))
		churn := func(round int) {
			for part := range 4 {
				var add, drop []string
				for i := range 100 {
					name := fmt.Sprintf("x%d-%d-%d", round, part, i)
					add, drop = append(add, fmt.Sprintf(`%q:1`, name)), append(drop, fmt.Sprintf(`%q:null`, name))
				}
				for _, members := range [][]string{add, drop} {
					if a := v.get(patch("{" + strings.Join(members, ",") + "}")); a.StatusCode != 200 {
						t.Fatalf("round %d: %d %s", round, a.StatusCode, a.token())
					}
				}
			}
		}
		for round := range 40 {
			churn(round)
			wait(2 * time.Minute)
		}
		v.get(patch(`{"more":1}`))
		wait(time.Second)
		for _, n := range f.nodes {
			if deleted := f.deletions(n); deleted > 700 {
				t.Errorf("%s remembers %d deletions", n.name, deleted)
			}
		}
		for range 60 { // kept in use, and deleting no more
			wait(time.Minute)
			v.get(patch(fmt.Sprintf(`{"more":%d}`, time.Now().Unix())))
		}
		wait(time.Second)
		for _, n := range f.nodes {
			if deleted := f.deletions(n); deleted != 0 {
				t.Errorf("%s remembers %d deletions an hour later", n.name, deleted)
			}
		}
		if got := v.get(nil).app.session(); !strings.HasPrefix(got, `{"kept":1,"more":`) {
			t.Errorf("the session is %s", got)
		}
	}, func(s *setup) { s.MaxSize = 64 << 10 })
}

// deletions counts what a node's only session remembers of deleted attributes.
func (f *fleet) deletions(n *node) (deleted int) {
	c, err := codec(secret)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, key := range n.server.Keys() {
		if strings.HasPrefix(key, "p1:!") {
			continue
		}
		blob, _ := n.server.Peek(key)
		r, err := c.Open(key, blob)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, e := range r.Entries {
			if e.Kind == sessioncodec.Deleted {
				deleted++
			}
		}
	}
	return deleted
}

// A request that took long brings back nothing that was deleted meanwhile, also when the deletion is no longer remembered; what it writes
// itself is kept.
func TestLateChangeBringsNothingBack(t *testing.T) {
	bothModes(t, func(t *testing.T, f *fleet, p *process) {
		v := p.visitor()
		v.get(patch(`{"gone":1,"kept":1}`))
		late := p.visitor().take(v.id())
		do, arrived, goOn := held(patch(`{"late":1}`))
		ended := make(chan *answer)
		go func() { ended <- late.get(do) }()
		<-arrived
		v.get(patch(`{"gone":null}`))
		for range 60 {
			wait(time.Minute)
			v.get(patch(fmt.Sprintf(`{"kept":%d}`, time.Now().Unix())))
		}
		v.get(patch(`{"kept":2}`))
		close(goOn)
		if a := <-ended; a.StatusCode != 200 {
			t.Fatalf("%d %s", a.StatusCode, a.token())
		}
		v.must(`{"kept":2,"late":1}`)
	}, func(s *setup) { s.http.UpstreamTimeout = 2 * time.Hour })
}
