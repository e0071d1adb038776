package sessioncodec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

const (
	nonceLen = 24
	tagLen   = 16
)

// xaes is XAES-256-GCM (C2SP): AES-256-GCM under a key derived from the first half of a 24-byte nonce. Random nonces are safe
// for 2^80 messages under one key, where plain GCM ends at 2^32.
type xaes struct {
	block cipher.Block
	k1    [16]byte // the CMAC subkey
}

func newXAES(key []byte) (*xaes, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	carry := byte(0)
	for i := len(x.k1) - 1; i >= 0; i-- {
		x.k1[i], carry = x.k1[i]<<1|carry, x.k1[i]>>7
	}
	x.k1[15] ^= carry * 0x87
	return x, nil
}

// aead returns the cipher for the messages whose nonce begins with these 12 bytes. derived is scratch.
func (x *xaes) aead(nonce []byte, derived *[32]byte) (cipher.AEAD, error) {
	for i, half := range [][]byte{derived[:16], derived[16:]} {
		copy(half, []byte{0, byte(i + 1), 'X', 0})
		copy(half[4:], nonce[:12])
		subtle.XORBytes(half, half, x.k1[:])
		x.block.Encrypt(half, half)
	}
	block, err := aes.NewCipher(derived[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
