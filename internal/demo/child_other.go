//go:build !linux

package demo

import "syscall"

// childAttributes leaves a child in the demo's group, so that a second Ctrl-C, which ends the demo at once, ends the child too.
func childAttributes() *syscall.SysProcAttr { return nil }
