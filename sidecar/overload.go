package sidecar

import (
	"errors"
	"sync/atomic"
)

// crowdLimit is how many requests may wait for a lock or for a commit: far more than a ring that answers lets wait. With the largest patches
// they hold 512 MiB.
const crowdLimit = 8192

// lineLimit is how many of them may be of one session: far more than a browser has, and an eighth of the crowd.
const lineLimit = crowdLimit / 8

var errCrowd = errors.New("sidecar: too many requests wait for their sessions")

// crowd counts the requests that wait. One more than it takes is told so at once (DESIGN 5, overload): a client that waits behind thousands
// leaves, and its request takes memory until it would have had its turn.
type crowd struct{ waiting atomic.Int64 }

func (c *crowd) enter() error {
	if c.waiting.Add(1) > crowdLimit {
		c.leave()
		return errCrowd
	}
	return nil
}

func (c *crowd) leave() { c.waiting.Add(-1) }
