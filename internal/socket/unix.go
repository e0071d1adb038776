//go:build unix

package socket

import (
	"errors"
	"os"
	"syscall"
)

// Supported tells whether this system's sockets can be called so.
const Supported = true

// Read reads what is there; again tells that nothing is.
func Read(fd uintptr, p []byte) (n int, again bool, err error) {
	for {
		n, err = sysRead(fd, p)
		switch {
		case err == nil:
			return n, false, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, true, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return 0, false, os.NewSyscallError("read", err)
	}
}

// Write writes what the socket takes at once.
func Write(fd uintptr, p []byte) (n int, err error) {
	for {
		n, err = sysWrite(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case errors.Is(err, syscall.EINTR):
			continue
		}
		return 0, os.NewSyscallError("write", err)
	}
}
