package sidecar

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A patience is a context like those of the standard library, whether somebody waits for it or only asks.
func TestPatienceIsAContext(t *testing.T) {
	type key struct{}
	for name, wait := range map[string]func(context.Context) (end func()){
		"asked":  func(context.Context) func() { return func() {} },
		"waited": func(ctx context.Context) func() { ctx.Done(); return func() {} },
		"child":  func(ctx context.Context) func() { _, cancel := context.WithCancel(ctx); return cancel },
	} {
		synctest.Test(t, func(t *testing.T) {
			parent, leave := context.WithCancel(context.WithValue(t.Context(), key{}, "value"))
			defer leave()
			for _, row := range []struct {
				after time.Duration
				want  error
			}{{time.Second - 1, nil}, {time.Second, context.DeadlineExceeded}} {
				p := within(parent, time.Now(), time.Second)
				end := wait(p)
				time.Sleep(row.after)
				synctest.Wait()
				if err := p.Err(); !errors.Is(err, row.want) {
					t.Errorf("%s, after %v: %v, want %v", name, row.after, err, row.want)
				}
				if got := p.Value(key{}); got != "value" {
					t.Errorf("%s: the parent's value is %v", name, got)
				}
				end()
				p.end()
			}
			p := within(parent, time.Now(), time.Second)
			defer wait(p)()
			defer p.end()
			leave()
			if err := p.Err(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, and the parent ended: %v", name, err)
			}
		})
	}
}

// One within another ends when the first of the two does, and wakes who waits.
func TestPatienceWithinPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, row := range []struct{ outer, inner time.Duration }{{time.Second, time.Minute}, {time.Minute, time.Second}} {
			start := time.Now()
			outer := within(t.Context(), start, row.outer)
			inner := within(outer, start, row.inner)
			<-inner.Done()
			at, ok := inner.Deadline()
			if time.Since(start) != time.Second || !ok || !at.Equal(start.Add(time.Second)) {
				t.Errorf("%v within %v: ended after %v, its deadline was %v", row.inner, row.outer, time.Since(start), at.Sub(start))
			}
			inner.end()
			outer.end()
		}
	})
}
