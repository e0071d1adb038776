package h1

import (
	"net"
	"os"
	"syscall"
)

// acceptQueued takes all connections out of a listener's queue. Accept cannot: with a deadline it looks at the clock and not at
// the queue.
func acceptQueued(l net.Listener) (conns []net.Conn) {
	s, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	_ = raw.Control(func(fd uintptr) {
		for {
			queued, _, err := syscall.Accept4(int(fd), syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
			if err == syscall.EINTR || err == syscall.ECONNABORTED {
				continue
			}
			if err != nil {
				return // EAGAIN: the queue is empty
			}
			f := os.NewFile(uintptr(queued), "")
			if c, err := net.FileConn(f); err == nil {
				conns = append(conns, c)
			}
			f.Close()
		}
	})
	return conns
}
