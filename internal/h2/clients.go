package h2

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// clients knows which connections still owe an answer.
type clients struct {
	states sync.Map     // net.Conn to *atomic.Int64, its http.ConnState
	busy   atomic.Int64 // connections that are new or in a request
}

// watch is http.Server's hook. It is called for one connection never twice at once.
func (c *clients) watch(conn net.Conn, state http.ConnState) {
	if state == http.StateNew {
		c.busy.Add(1)
		c.states.Store(conn, new(atomic.Int64)) // http.StateNew is 0
		return
	}
	known, ok := c.states.Load(conn)
	if !ok {
		return
	}
	prior := http.ConnState(known.(*atomic.Int64).Swap(int64(state)))
	switch was, is := owes(prior), owes(state); {
	case is && !was:
		c.busy.Add(1)
	case was && !is:
		c.busy.Add(-1)
	}
	if state == http.StateClosed {
		c.states.Delete(conn)
	}
}

func owes(s http.ConnState) bool { return s == http.StateNew || s == http.StateActive }

// settle returns when every connection has got its answers or ctx ends. New ones that stay silent are closed.
func (c *clients) settle(ctx context.Context) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	silent := time.After(head.FirstRequest)
	for c.busy.Load() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-silent:
			c.closeNew()
		case <-tick.C:
		}
	}
}

func (c *clients) closeNew() {
	c.states.Range(func(conn, state any) bool {
		if http.ConnState(state.(*atomic.Int64).Load()) == http.StateNew {
			_ = conn.(net.Conn).Close()
		}
		return true
	})
}
