package acceptqueue

import (
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// handshake is how long a client may take to end the handshake that it has begun.
	handshake = 5 * time.Millisecond
	// ipv6MinHopCount is IPV6_MINHOPCOUNT, IPv6's IP_MINTTL.
	ipv6MinHopCount = 73
)

// drain takes all connections out of the queue. Accept cannot: with a deadline it looks at the clock and not at the queue.
func drain(l net.Listener) (waiting []net.Conn) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) {
		if l.Addr().Network() == "tcp" && deaf(int(fd), true) {
			time.Sleep(handshake)
		}
		waiting = accept(int(fd))
	})
	return waiting
}

// deaf lets a listening socket take no new connection while those that are on their way arrive: what asks for one is dropped, for it never has
// a TTL of 255. Without this there is time, between the last accept and the close, for a connection that would be made and reset. The
// connections that arrive then inherit the deafness.
func deaf(fd int, is bool) bool {
	least := map[bool]int{true: 255, false: 0}[is]
	err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_MINTTL, least)
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6MinHopCount, least) // an IPv4 socket has none
	return err == nil
}

// accept takes what is in the queue of a listening socket that does not block.
func accept(fd int) (all []net.Conn) {
	for {
		accepted, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		if err == syscall.EINTR || err == syscall.ECONNABORTED {
			continue
		}
		if err != nil {
			return all // EAGAIN: the queue is empty
		}
		deaf(accepted, false)
		f := os.NewFile(uintptr(accepted), "")
		if c, err := net.FileConn(f); err == nil {
			all = append(all, c)
		}
		_ = f.Close()
	}
}
