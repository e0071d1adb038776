//go:build !linux

package demo

import "syscall"

// childAttributes puts a child in a group of its own, so that Ctrl-C reaches the demo alone.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
