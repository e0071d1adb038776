package memcachedtest

import "math"

// Numbers are read as memcached does it by strtoull and strtol: leading space and a sign are allowed, the first space after the
// digits ends them, and what does not fit 32 bits where 32 are meant is cut off.

// unsigned reads a 64-bit number.
func unsigned(text []byte) (uint64, bool) {
	n, negative, ok := digits(text)
	if negative {
		n = -n
	}
	return n, ok && !(negative && int64(n) < 0)
}

// signed reads a 32-bit number.
func signed(text []byte) (int32, bool) {
	n, negative, ok := digits(text)
	if n > math.MaxInt64 {
		return 0, false
	}
	if negative {
		n = -n
	}
	return int32(n), ok
}

func digits(text []byte) (n uint64, negative, ok bool) {
	i := 0
	for i < len(text) && isSpace(text[i]) {
		i++
	}
	if i < len(text) && (text[i] == '-' || text[i] == '+') {
		negative = text[i] == '-'
		i++
	}
	first := i
	for ; i < len(text) && text[i] >= '0' && text[i] <= '9'; i++ {
		d := uint64(text[i] - '0')
		if n > (math.MaxUint64-d)/10 {
			return 0, false, false
		}
		n = n*10 + d
	}
	return n, negative, i > first && (i == len(text) || isSpace(text[i]))
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
