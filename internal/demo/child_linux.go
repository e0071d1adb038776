package demo

import "syscall"

// childAttributes puts a child in a group of its own, so that Ctrl-C reaches the demo alone, and ends it with the demo even when that is
// killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
