//go:build !linux

package h1

import "net"

// acceptQueued knows no way here: queued connections are reset when the listener closes.
func acceptQueued(net.Listener) []net.Conn { return nil }
