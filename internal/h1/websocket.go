package h1

import "encoding/binary"

// Close frames with status 1001, "going away". A client's are masked (RFC 6455, section 5.3); zero is a mask too.
var (
	goingAway       = []byte{0x88, 0x02, 0x03, 0xe9}
	goingAwayMasked = []byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9}
)

// frames follows the frames of one direction of a WebSocket (RFC 6455, section 5.2), to know where one ends.
type frames struct {
	head [14]byte // of the frame that has begun
	got  int      // of its head
	left uint64   // of its payload
}

// passed takes what went through.
func (f *frames) passed(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(uint64(len(p)), f.left)
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.got] = p[0]
		f.got++
		p = p[1:]
		if f.got == f.headSize() {
			f.left, f.got = f.payload(), 0
		}
	}
}

// between tells whether the last frame is complete.
func (f *frames) between() bool { return f.got == 0 && f.left == 0 }

func (f *frames) headSize() int {
	if f.got < 2 {
		return 2
	}
	size := 2
	switch f.head[1] & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

func (f *frames) payload() uint64 {
	switch n := f.head[1] & 0x7f; n {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		return binary.BigEndian.Uint64(f.head[2:])
	default:
		return uint64(n)
	}
}
