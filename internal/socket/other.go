//go:build !unix

package socket

import "errors"

// Supported tells whether this system's sockets can be called so.
const Supported = false

// Read reads nothing here.
func Read(uintptr, []byte) (n int, again bool, err error) { return 0, false, errors.ErrUnsupported }

// Write writes nothing here.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

// IsQuiet cannot tell here, so a connection to an app serves again only what may be repeated.
func IsQuiet(uintptr) bool { return false }

// HasEnded cannot tell here.
func HasEnded(uintptr) bool { return false }
