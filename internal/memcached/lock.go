package memcached

import (
	"context"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/pillion-proxy/pillion/internal/ring"
	"github.com/pillion-proxy/pillion/internal/store"
)

const (
	lockTTL      = 5 * time.Second // of a holder that died; memcached rounds seconds down, so 2 s would be the least
	lockRetry    = 5 * time.Millisecond
	lockRetryMax = 100 * time.Millisecond
)

// Lock takes the session's lock: an item with a random token of its owner on the id's node, or on the next of the order that
// answers. It is renewed until unlock, which gives it back only while the token is ours. The lock makes parallel requests wait for
// each other; it is not what keeps their writes apart, which is cas. wait is for one holder: when the lock changes hands, it begins anew.
func (s *Store) Lock(ctx context.Context, id ring.ID, wait time.Duration, moved func()) (unlock func(), err error) {
	f := s.fleet.Load()
	var token [16]byte
	if err := s.draw(token[:]); err != nil {
		return nil, err
	}
	l := &lock{
		s: s, key: "p1:" + s.space + ":l:" + ring.Ref(s.space, id.Random), token: hex.EncodeToString(token[:]),
		nodes: f.inOrder(ring.ReadOrder(f.nodes, ring.StorageKey(s.space, id.Random), id.Node)),
	}
	deadline, last := time.Now().Add(wait), ""
	for pause := lockRetry; ; pause = min(2*pause, lockRetryMax) {
		holder, err := l.take()
		switch {
		case err != nil:
			return nil, err
		case holder == l.token:
			l.hold()
			return l.unlock, nil
		case holder != "" && holder != last:
			last, deadline = holder, time.Now().Add(wait)
			moved()
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, store.ErrLocked
		}
		timer := time.NewTimer(min(left, s.jitter(pause)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, store.ErrLocked
			}
			return nil, ctx.Err()
		}
	}
}

// lock is one lock, wanted or held.
type lock struct {
	s       *Store
	key     string
	token   string
	nodes   []*node // where it may lie; the first that answers
	mu      sync.Mutex
	renewal *time.Timer // nil once given back
}

// take tries once, and returns the token of whoever holds the lock, "" when it is free again. An add without an answer may have been done: the
// token tells, when the node answers again.
func (l *lock) take() (holder string, err error) {
	for len(l.nodes) > 0 {
		n := l.nodes[0]
		conflict, err := n.put(item{}, l.key, []byte(l.token), int32(lockTTL/time.Second))
		if err == nil && !conflict {
			return l.token, nil
		}
		if err == nil {
			var held item
			if held, err = n.get(l.key); err == nil {
				return string(held.value), nil
			}
		}
		if errors.Is(err, store.ErrBusy) {
			return "", err // another node would be another lock
		}
		l.nodes = l.nodes[1:]
	}
	return "", &store.UnknownError{All: true}
}

func (l *lock) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewal = time.AfterFunc(lockTTL/3, l.renew)
}

// renew keeps a lock that is still held.
func (l *lock) renew() {
	kept := l.rewrite(int32(lockTTL / time.Second))
	l.mu.Lock()
	defer l.mu.Unlock()
	if kept && l.renewal != nil {
		l.renewal.Reset(lockTTL / 3)
	}
}

func (l *lock) unlock() {
	l.mu.Lock()
	held := l.renewal != nil
	if held {
		l.renewal.Stop()
		l.renewal = nil
	}
	l.mu.Unlock()
	if held {
		l.rewrite(-1) // an expiry in the past: a delete that asks who holds it
	}
}

// rewrite gives the item a new expiry while it is ours, and tells whether it may be. A conflict is a renewal that unlock met.
func (l *lock) rewrite(ttl int32) bool {
	n := l.nodes[0]
	for range maxTries {
		held, err := n.get(l.key)
		if err != nil {
			return true // it did not answer: the next renewal may find it
		}
		if !held.hit || string(held.value) != l.token {
			return false
		}
		if conflict, err := n.put(held, l.key, held.value, ttl); err == nil && !conflict {
			return true
		}
	}
	return true
}
