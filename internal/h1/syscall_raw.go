//go:build linux && !race

package h1

import (
	"syscall"
	"unsafe"
)

// System calls on sockets, which never block, so the scheduler need not hear of them: telling it costs a fifth of a request's time, most of it in
// the runtime's monitor, which takes the processor away from whoever it believes to be blocked (docs/performance.md).

func sysRead(fd uintptr, p []byte) (int, error)  { return rawCall(syscall.SYS_READ, fd, p) }
func sysWrite(fd uintptr, p []byte) (int, error) { return rawCall(syscall.SYS_WRITE, fd, p) }

func rawCall(number, fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
