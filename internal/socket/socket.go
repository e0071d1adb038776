// Package socket reads and writes sockets without telling the scheduler, for they never block. Telling it costs a fifth of a request's time, most of it
// in the runtime's monitor, which takes the processor away from whoever it believes to be blocked (docs/performance.md).
package socket

import "syscall"

// Of returns what calls a socket by its descriptor, nil where c is none: it is encrypted, or a pipe.
func Of(c any) syscall.RawConn {
	if s, ok := c.(syscall.Conn); ok && Supported {
		if raw, err := s.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}
