//go:build !unix

package h1

import "errors"

const canPeek = false

// isQuiet cannot tell here, so such a connection serves only what may be repeated.
func isQuiet(uintptr) bool { return false }

func hasEnded(uintptr) bool { return false }

func readSocket(uintptr, []byte) (n int, again bool, err error) {
	return 0, false, errors.ErrUnsupported
}

func writeSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
