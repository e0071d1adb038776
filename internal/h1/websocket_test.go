package h1

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/coder/websocket"
)

// The end of each frame is found in whatever pieces the stream comes.
func TestFramesEnd(t *testing.T) {
	frame := func(masked bool, size int) []byte {
		var b []byte
		switch {
		case size < 126:
			b = []byte{0x82, byte(size)}
		case size < 1<<16:
			b = []byte{0x82, 126, byte(size >> 8), byte(size)}
		default:
			b = []byte{0x82, 127, 0, 0, 0, 0, byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
		}
		if masked {
			b[1] |= 0x80
			b = append(b, 1, 2, 3, 4)
		}
		return append(b, make([]byte, size)...)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, masked := range []bool{false, true} {
		var stream []byte
		ends := map[int]bool{0: true}
		for _, size := range []int{0, 1, 125, 126, 127, 1000, 65535, 65536, 70000, 0, 0} {
			stream = append(stream, frame(masked, size)...)
			ends[len(stream)] = true
		}
		var f frames
		for at := 0; at < len(stream); {
			n := min(1+random.IntN(100), len(stream)-at)
			f.passed(stream[at : at+n])
			if at += n; f.between() != ends[at] {
				t.Fatalf("masked %v: after %d bytes between is %v", masked, at, f.between())
			}
		}
	}
	var f frames
	f.passed(bytes.Join([][]byte{goingAway, goingAwayMasked}, nil))
	if !f.between() || int(goingAway[2])<<8|int(goingAway[3]) != int(websocket.StatusGoingAway) {
		t.Error("our own frames are malformed")
	}
}
