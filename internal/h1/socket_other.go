//go:build !unix

package h1

// isQuiet cannot tell here, so such a connection serves only what may be repeated.
func isQuiet(uintptr) bool { return false }

func hasEnded(uintptr) bool { return false }
