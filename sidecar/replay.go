package sidecar

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// replayWindow is how many calls of one sender may overtake another one of its calls: what is further behind is refused.
	replayWindow = 1 << 16
	// replaySenders bounds the memory for it, to 8 MiB. Only who has the fleet's key counts as a sender.
	replaySenders = 1 << 10
)

// replays remember which calls were taken, by a window over the numbers of each sender (as RFC 4303, section 3.4.3): however many
// calls there are, it is 8 KiB for each.
type replays struct {
	mu      sync.Mutex
	senders map[sender]*window
}

// sender is one process of the fleet.
type sender struct {
	route string
	run   [4]byte
}

// window is what one sender's calls were. A number has the bit of its remainder.
type window struct {
	highest uint64
	taken   [replayWindow / 64]uint64
	at      time.Time // of the last call
}

// fresh notes a proven call, and tells whether it is new.
func (r *replays) fresh(h hop, now time.Time) bool {
	from, number := sender{route: h.from, run: [4]byte(h.nonce[:4])}, binary.BigEndian.Uint64(h.nonce[4:])
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.senders[from]
	if w == nil {
		if w = r.admit(from, now); w == nil {
			return false
		}
	}
	w.at = now
	return w.take(number)
}

// admit makes room for a sender. What is forgotten had its last call so long ago that a repetition is too old to be believed.
func (r *replays) admit(from sender, now time.Time) *window {
	if r.senders == nil {
		r.senders = map[sender]*window{}
	}
	for known, w := range r.senders {
		if now.Sub(w.at) > 2*hopWindow {
			delete(r.senders, known)
		}
	}
	if len(r.senders) >= replaySenders {
		return nil
	}
	w := &window{}
	r.senders[from] = w
	return w
}

func (w *window) take(number uint64) bool {
	switch {
	case number > w.highest:
		w.advance(number)
	case w.highest-number >= replayWindow || w.has(number):
		return false
	}
	w.taken[number%replayWindow/64] |= 1 << (number % 64)
	return true
}

func (w *window) has(number uint64) bool {
	return w.taken[number%replayWindow/64]&(1<<(number%64)) != 0
}

// advance forgets the numbers that fall out of the window.
func (w *window) advance(to uint64) {
	if to-w.highest >= replayWindow {
		clear(w.taken[:])
	} else {
		for n := w.highest + 1; n <= to; n++ {
			w.taken[n%replayWindow/64] &^= 1 << (n % 64)
		}
	}
	w.highest = to
}
