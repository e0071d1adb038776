package sidecar

import (
	"errors"
	"net/netip"
	"sync"
	"time"
)

// birthClients bounds the clients that are counted in a minute. Whoever has more addresses than that is not held up by a limit for each.
const birthClients = 100_000

var errTooManyBirths = errors.New("sidecar: one client begins too many sessions")

// births bound how many sessions one client begins in a minute (M8): each takes memory here and on two nodes, and costs its sender a request. A
// client is an IPv4 address, or an IPv6 /64: that is what one subscriber has.
type births struct {
	mu     sync.Mutex
	limit  int // in a minute; 0: any number
	minute time.Time
	begun  map[netip.Prefix]int // in this minute
}

// SetCreations replaces limits.creations.
func (h *Handler) SetCreations(limit int) {
	h.births.mu.Lock()
	defer h.births.mu.Unlock()
	h.births.limit = limit
}

// admit counts one more session of client, unless it has its share.
func (b *births) admit(client netip.Addr, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.limit == 0 {
		return true
	}
	if minute := now.Truncate(time.Minute); !minute.Equal(b.minute) {
		b.minute, b.begun = minute, map[netip.Prefix]int{}
	}
	subscriber := subscriberOf(client)
	n, counted := b.begun[subscriber]
	if n >= b.limit {
		return false
	}
	if counted || len(b.begun) < birthClients {
		b.begun[subscriber] = n + 1
	}
	return true
}

func subscriberOf(client netip.Addr) netip.Prefix {
	client = client.Unmap().WithZone("")
	bits := client.BitLen()
	if client.Is6() {
		bits = 64
	}
	subscriber, _ := client.Prefix(bits) // of no address, as on a Unix socket: the zero prefix
	return subscriber
}
