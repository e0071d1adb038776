package memcached

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

// linesMost is how many pipelines to a node take calls: one, and another one while that reads a large value.
const linesMost = 2

// lines are the pipelines of one life.
type lines struct {
	mu      sync.Mutex
	open    []*pipeline
	dialing *dialing // nil: nobody dials
}

// dialing is a dial that several wait for.
type dialing struct {
	done chan struct{}
	line *pipeline
	err  error
}

// ready is a pipeline that takes calls now, nil when one has to be dialed; ls.mu is held.
func (ls *lines) ready() *pipeline {
	for i, p := range ls.open {
		switch {
		case !p.open.Load():
			ls.open = slices.DeleteFunc(ls.open, func(p *pipeline) bool { return !p.open.Load() })
			return ls.ready()
		case !p.large.Load() || i == linesMost-1:
			return p
		}
	}
	return nil
}

// line is a pipeline that takes calls, dialed where there is none. Who comes meanwhile waits for the same dial.
func (l *life) line() (*pipeline, error) {
	l.lines.mu.Lock()
	p, d := l.lines.ready(), l.lines.dialing
	switch {
	case p != nil:
		l.lines.mu.Unlock()
		return p, nil
	case d != nil:
		l.lines.mu.Unlock()
		<-d.done
		return d.line, d.err
	}
	d = &dialing{done: make(chan struct{})}
	l.lines.dialing = d
	l.lines.mu.Unlock()
	d.line, d.err = l.dial()
	l.lines.mu.Lock()
	defer l.lines.mu.Unlock()
	if l.lines.dialing = nil; d.err == nil {
		l.lines.open = append(l.lines.open, d.line)
	}
	close(d.done)
	return d.line, d.err
}

func (l *life) dial() (*pipeline, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.client.Timeout)
	defer cancel()
	conn, err := l.client.DialContext(ctx, "", "")
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // the greeting's
	return newPipeline(conn, l.client.Timeout), nil
}

// drop ends the idle connections; one that is in use ends after its last operation.
func (l *life) drop() {
	l.client.Close()
	l.lines.mu.Lock()
	open := l.lines.open
	l.lines.open = nil
	l.lines.mu.Unlock()
	for _, p := range open {
		p.retire()
	}
}

// asking is an operation that can be asked of a node, and asked again.
type asking interface{ ask(l *life) error }

// ask sends the call and waits for its answer. Its time is not prolonged by what became of another one's.
func (c *call) ask(l *life) error {
	for range linesMost + 1 { // a line may be given up just now
		p, err := l.line()
		if err != nil {
			return err
		}
		if !errors.Is(c.err, errCut) {
			c.begun = time.Now()
		}
		c.life = l
		if p.send(c) {
			<-c.done
			return c.err
		}
	}
	return errCut
}

// rare is an operation that gomemcache does, on a connection of its own.
type rare func(*memcache.Client) error

func (do rare) ask(l *life) error { return do(l.client) }
