package sidecar

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

// lockPatience is how many times lock_wait a request waits at most. lock_wait itself is for a holder that keeps the lock: in a queue that moves
// each request has its turn, and a 503 would only make its client come again.
const lockPatience = 10

// learnedLimit bounds the routes that learned locking remembers; the oldest is forgotten first.
const learnedLimit = 10_000

// learnedLength is the longest route that is remembered. Longer ones are rare, hold something for one visitor, and count as writers.
const learnedLength = 512

// locks decide which requests of one session exclude each other, and make them wait in the order they came: first among the
// requests of this sidecar, then, in shared mode, for the lock in the ring.
type locks struct {
	mode  LockMode
	paths []*regexp.Regexp
	wait  time.Duration

	turns turns

	learnedMu sync.Mutex
	writes    map[string]bool // method and path -> seen to write
	order     []string
}

func newLocks(o *Options) *locks {
	return &locks{mode: o.Lock, paths: o.LockPaths, wait: o.LockWait, turns: newTurns(), writes: map[string]bool{}}
}

// covers tells whether the lock mode asks that this request's commit be exact, and whether it must hold the lock for that. A route
// that learned locking only saw reading goes without; should it write all the same, a conflict is a 503 and never a lost update.
func (l *locks) covers(req *head.Head) (exact, hold bool) {
	switch l.mode {
	case LockAll:
		return true, true
	case LockPaths:
		hold = l.isOnPath(pathOf(req.Target))
		return hold, hold
	case LockAuto:
		l.learnedMu.Lock()
		defer l.learnedMu.Unlock()
		writes, known := l.writes[route(req)]
		return true, writes || !known
	}
	return false, false
}

// isOnPath tells whether lock_paths match a path as it came, or as the app may read it: a client must not get round the lock by another spelling.
func (l *locks) isOnPath(asked string) bool {
	matches := func(re *regexp.Regexp) bool { return re.MatchString(asked) }
	if slices.ContainsFunc(l.paths, matches) {
		return true
	}
	plain, ok := normalTarget(asked)
	if !ok {
		return true // it can be read in more than one way
	}
	slash := strings.HasSuffix(plain, "/")
	if asked = path.Clean(plain); slash && asked != "/" {
		asked += "/"
	}
	return slices.ContainsFunc(l.paths, matches)
}

// learn remembers what a request did: once a writer, always a writer; unseen routes count as writers.
func (l *locks) learn(req *head.Head, wrote bool) {
	if l.mode != LockAuto {
		return
	}
	key := route(req)
	if len(key) > learnedLength {
		return
	}
	l.learnedMu.Lock()
	defer l.learnedMu.Unlock()
	before, known := l.writes[key]
	l.writes[key] = before || wrote
	if known {
		return
	}
	if l.order = append(l.order, key); len(l.order) > learnedLimit {
		delete(l.writes, l.order[0])
		l.order = l.order[1:]
	}
}

func route(req *head.Head) string { return req.Method + " " + pathOf(req.Target) }

// lock gives v its session's lock when the mode asks for it; it comes before the load (K15).
func (h *Handler) lock(ctx context.Context, v *visit, req *head.Head) error {
	var hold bool
	if v.exact, hold = h.locks.covers(req); !hold {
		if v.exact {
			h.opts.Metrics.ReadOnly.Inc()
		}
		return nil
	}
	if err := h.crowd.enter(); err != nil {
		return err
	}
	defer h.crowd.leave()
	v.now = time.Time{}
	start := time.Now()
	defer func() { h.opts.Metrics.LockSeconds.Observe(time.Since(start).Seconds()) }()
	ctx, cancel := context.WithTimeout(ctx, lockPatience*h.locks.wait)
	defer cancel()
	leave, err := h.locks.turns.enter(ctx, v.id.Random, h.locks.wait)
	if err != nil {
		return err
	}
	if h.opts.Sticky {
		v.unlock = leave
		return nil
	}
	unlock, err := h.opts.Store.Lock(ctx, v.id, h.locks.wait, func() { h.locks.turns.move(v.id.Random) })
	if err != nil {
		leave()
		return err
	}
	v.unlock = func() { unlock(); leave() }
	return nil
}
