//go:build unix

package socket

import (
	"os"
	"syscall"
)

// Supported tells whether this system's sockets can be called so.
const Supported = true

// Read reads what is there; again tells that nothing is.
func Read(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, errno := sysRead(fd, p)
		switch errno {
		case 0:
			return n, false, nil
		case syscall.EAGAIN:
			return 0, true, nil
		case syscall.EINTR:
			continue
		}
		return 0, false, os.NewSyscallError("read", errno)
	}
}

// Write writes what the socket takes at once.
func Write(fd uintptr, p []byte) (n int, err error) {
	for {
		n, errno := sysWrite(fd, p)
		switch errno {
		case 0:
			return n, nil
		case syscall.EAGAIN:
			return 0, nil
		case syscall.EINTR:
			continue
		}
		return 0, os.NewSyscallError("write", errno)
	}
}

// IsQuiet tells whether a socket is open and has nothing to read.
func IsQuiet(fd uintptr) bool {
	_, errno := peek(fd)
	return errno == syscall.EAGAIN
}

// HasEnded tells whether the other side has sent all that it will, and everything was read.
func HasEnded(fd uintptr) bool {
	n, errno := peek(fd)
	return n == 0 && errno == 0
}

func peek(fd uintptr) (n int, errno syscall.Errno) {
	var one [1]byte
	for {
		if n, errno = sysPeek(fd, one[:]); errno != syscall.EINTR {
			return n, errno
		}
	}
}
