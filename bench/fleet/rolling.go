package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// measureRolling replaces every sidecar, and every app, in turn and again, under load, behind each kind of front.
func measureRolling(l *lab, t *table) error {
	kinds, err := l.kinds()
	if err != nil {
		return err
	}
	var failed error
	for _, kind := range kinds {
		for _, part := range []struct {
			name    string
			replace func(*site, *member) error
		}{{"sidecars", (*site).replaceSidecar}, {"apps", (*site).replaceApp}} {
			if err := l.roll(t, kind, part.name, part.replace); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s behind %s: %w", part.name, kind.name, err))
			}
		}
	}
	return failed
}

func (l *lab) roll(t *table, kind frontKind, what string, replace func(*site, *member) error) error {
	s, err := l.startSite(kind.plane, kind.settings...)
	if err != nil {
		return err
	}
	defer s.end()
	f, err := kind.start(s)
	if err != nil {
		return err
	}
	start := time.Now()
	c := gather(f.url, f.dial)
	rounds := 0
	for err == nil && (rounds < l.rounds || c.requests.Load() < int64(l.requests)) {
		for _, m := range s.members {
			if err == nil {
				err = replace(s, m)
			}
		}
		rounds++
	}
	c.disperse()
	if err != nil {
		return err
	}
	if c.failed() > 0 {
		for _, m := range s.members {
			progress("%s said last:\n%s", m.route, m.process.log.tail())
		}
	}
	t.add(fmt.Sprintf("every %s replaced, behind %s", what[:len(what)-1], kind.name),
		fmt.Sprintf("%d failed, %d lost, %d twice", c.failed(), c.lost.Load(), s.ledger.twice()), "0, 0, 0",
		fmt.Sprintf("%d requests, %d rounds, %.0f s %s", c.requests.Load(), rounds, time.Since(start).Seconds(), c.said()))
	return nil
}

func (s *site) replaceSidecar(m *member) error {
	m.process.stop()
	return s.raise(m)
}

// breath is what a deploy waits from one app to the next.
const breath = 300 * time.Millisecond

// replaceApp ends an app, waits until its sidecar has noticed, and starts it again.
func (s *site) replaceApp(m *member) error {
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	if err := m.app.End(ctx); err != nil {
		return err
	}
	if err := until(s.ctx, m.route+" sends visitors elsewhere", func() error {
		if s.health(m) == nil {
			return errors.New("its health path says yes")
		}
		return nil
	}); err != nil {
		return err
	}
	if err := m.app.Again(); err != nil {
		return err
	}
	if err := s.serves(m); err != nil {
		return err
	}
	select { // a request that has just met this gap shall not meet the next one too
	case <-time.After(breath):
	case <-s.ctx.Done():
	}
	return nil
}
