//go:build unix && (!linux || race)

package socket

import "syscall"

// The common calls also tell the race detector what one end of a socket tells the other.

func sysRead(fd uintptr, p []byte) (int, error)  { return syscall.Read(int(fd), p) }
func sysWrite(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
