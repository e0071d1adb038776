package h1

import "encoding/binary"

// What RFC 9110 and RFC 3986 allow where, as sets of bytes.
const (
	isToken  = 1 << iota // RFC 9110, section 5.6.2
	isHex                // a chunk's size, an escape
	isHost               // RFC 3986, section 3.2.2, with brackets, port and escapes
	isTarget             // anything that is visible or no ASCII: paths stay as they came (P6)
)

var chars = func() (set [256]byte) {
	mark := func(what byte, chars string) {
		for i := range len(chars) {
			set[chars[i]] |= what
		}
	}
	const alnum = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	mark(isToken, alnum+"!#$%&'*+-.^_`|~")
	mark(isHex, "0123456789abcdefABCDEF")
	mark(isHost, alnum+"-._~!$&'()*+,;=:[]%")
	for c := range set {
		if c > ' ' && c != 0x7f {
			set[c] |= isTarget
		}
	}
	return set
}()

// all tells whether every byte of b, and there is one, belongs to a set.
func all[T string | []byte](b T, what byte) bool {
	for i := range len(b) {
		if chars[b[i]]&what == 0 {
			return false
		}
	}
	return len(b) > 0
}

// visible tells whether b can be a field value: no control characters but the tab, which includes CR and NUL (P2).
func visible(b []byte) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for len(b) >= 8 { // eight at a time: below 0x20, or 0x7f
		v := binary.LittleEndian.Uint64(b)
		del := v ^ (0x7f * ones)
		if ((v-0x20*ones)&^v|(del-ones)&^del)&highs != 0 && !visibleSlowly(b[:8]) {
			return false
		}
		b = b[8:]
	}
	return visibleSlowly(b)
}

func visibleSlowly(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trim removes the optional space around a value (RFC 9110, section 5.6.3).
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
