//go:build unix

package h1

import (
	"errors"
	"os"
	"syscall"
)

// canPeek tells that isQuiet can.
const canPeek = true

// isQuiet tells whether a socket is open and has nothing to read.
func isQuiet(fd uintptr) bool {
	var one [1]byte
	_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err == syscall.EAGAIN || err == syscall.EINTR
}

// hasEnded tells whether the other side has sent all that it will.
func hasEnded(fd uintptr) bool {
	var one [1]byte
	n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n == 0 && err == nil
}

// readSocket reads what is there; again tells that nothing is.
func readSocket(fd uintptr, p []byte) (n int, again bool, err error) {
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

// writeSocket writes what the socket takes at once.
func writeSocket(fd uintptr, p []byte) (n int, err error) {
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
