package sessioncodec

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The two vectors of the C2SP specification of XAES-256-GCM: their keys take both branches of the subkey's doubling.
func TestXAESVectors(t *testing.T) {
	for _, v := range []struct {
		key                     byte
		nonce, plain, aad, want string
	}{
		{1, "ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM", "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "ABCDEFGHIJKLMNOPQRSTUVWX", "XAES-256-GCM", "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x, err := newXAES(bytes.Repeat([]byte{v.key}, 32))
		if err != nil {
			t.Fatal(err)
		}
		nonce := []byte(v.nonce)
		derived := [32]byte{0xFF} // what an earlier message left
		aead, err := x.aead(nonce, &derived)
		if err != nil {
			t.Fatal(err)
		}
		got := aead.Seal(nil, nonce[12:], []byte(v.plain), []byte(v.aad))
		if hex.EncodeToString(got) != v.want {
			t.Errorf("key %d: got %x, want %s", v.key, got, v.want)
		}
	}
}
