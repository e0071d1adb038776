package sidecar

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
	"github.com/pillion-proxy/pillion/internal/store"
)

func TestLockQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTurns()
		leave, err := l.enter(t.Context(), [16]byte{1}, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		var order []int
		for i := range 5 {
			go func() {
				leave, err := l.enter(t.Context(), [16]byte{1}, time.Minute)
				if err != nil {
					t.Error(err)
				}
				order = append(order, i)
				leave()
			}()
			synctest.Wait()
		}
		if other, err := l.enter(t.Context(), [16]byte{2}, time.Minute); err != nil {
			t.Error("another session waits too")
		} else {
			other()
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.enter(short, [16]byte{1}, time.Minute); !errors.Is(err, store.ErrLocked) {
			t.Errorf("got %v after the wait", err)
		}
		leave()
		synctest.Wait()
		if got := fmt.Sprint(order); got != "[0 1 2 3 4]" {
			t.Errorf("order %s", got)
		}
		if len(l.lines) != 0 {
			t.Errorf("%d queues left", len(l.lines))
		}
	})
}

func TestLockCovers(t *testing.T) {
	get := &head.Head{Method: "GET", Target: "/cart?x=1"}
	post := &head.Head{Method: "POST", Target: "/cart"}
	other := &head.Head{Method: "GET", Target: "/help"}
	check := func(l *locks, req *head.Head, exact, hold bool) {
		t.Helper()
		if e, h := l.covers(req); e != exact || h != hold {
			t.Errorf("mode %d, %s %s: exact %v hold %v", l.mode, req.Method, req.Target, e, h)
		}
	}
	check(newLocks(&Options{}), get, false, false)
	check(newLocks(&Options{Lock: LockAll}), get, true, true)
	paths := newLocks(&Options{Lock: LockPaths, LockPaths: []*regexp.Regexp{regexp.MustCompile(`^/cart$`)}})
	check(paths, get, true, true)
	check(paths, other, false, false)
	for _, target := range []string{"/%63art", "//cart", "/x/../cart", "/./cart?y", "/cart%00", "/%2563art"} { // as an app may read them
		hold := target != "/%2563art"
		check(paths, &head.Head{Method: "POST", Target: target}, hold, hold)
	}

	auto := newLocks(&Options{Lock: LockAuto})
	check(auto, get, true, true) // unseen: a writer
	auto.learn(get, false)
	check(auto, &head.Head{Method: "GET", Target: "/cart?y=2"}, true, false) // the query does not matter
	check(auto, post, true, true)                                            // the method does
	auto.learn(get, true)
	auto.learn(get, false)
	check(auto, get, true, true) // once a writer, always a writer
	for i := range learnedLimit + 10 {
		auto.learn(&head.Head{Method: "GET", Target: fmt.Sprintf("/%d", i)}, false)
	}
	if len(auto.writes) > learnedLimit {
		t.Errorf("%d learned routes", len(auto.writes))
	}
	long := &head.Head{Method: "GET", Target: "/" + strings.Repeat("x", learnedLength)}
	auto.learn(long, false)
	check(auto, long, true, true) // too long to remember: a writer
}
