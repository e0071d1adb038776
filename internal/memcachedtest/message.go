package memcachedtest

import (
	"bytes"
	"strconv"
)

// Message is the length of the first whole command or answer in b, 0 when some of it is missing: for those who stand between a client, which
// sends many commands at once, and its node.
func Message(b []byte) (length int) {
	for {
		end := bytes.Index(b[length:], []byte("\r\n"))
		if end < 0 {
			return 0
		}
		words := bytes.Fields(b[length : length+end])
		length += end + len("\r\n")
		value := len(words) > 3 && string(words[0]) == "VALUE"
		var size []byte
		switch {
		case value:
			size = words[3]
		case len(words) > 4 && commands[string(words[0])].stores:
			size = words[4]
		default:
			return length
		}
		n, err := strconv.Atoi(string(size))
		if err != nil || n < 0 {
			return length
		}
		if length += n + len("\r\n"); length > len(b) {
			return 0
		}
		if !value { // after values comes more, or END
			return length
		}
	}
}
