//go:build unix && (!linux || 386 || race)

package socket

import (
	"errors"
	"syscall"
)

// The common calls also tell the race detector what one end of a socket tells the other.

func sysRead(fd uintptr, p []byte) (int, syscall.Errno)  { return result(syscall.Read(int(fd), p)) }
func sysWrite(fd uintptr, p []byte) (int, syscall.Errno) { return result(syscall.Write(int(fd), p)) }

func sysPeek(fd uintptr, p []byte) (int, syscall.Errno) {
	n, _, err := syscall.Recvfrom(int(fd), p, syscall.MSG_PEEK)
	return result(n, err)
}

func result(n int, err error) (int, syscall.Errno) {
	var errno syscall.Errno
	if err != nil && !errors.As(err, &errno) {
		errno = syscall.EINVAL
	}
	return n, errno
}
