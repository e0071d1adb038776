package sidecar

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"time"
)

// prove spells Pillion-Auth (H8): a MAC by which the app knows that the session fields came from its sidecar. It covers
// length-prefixed fields: "pillion/auth/1", t, n, method, Pillion-Session or nothing, Pillion-Meta, Pillion-Handle or nothing.
func (h *Handler) prove(method, session, meta, handle string) string {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	var nonce [12]byte
	mustRead(h.opts.Random, nonce[:])
	mac := hmac.New(sha256.New, h.opts.AppAuth[0])
	for _, field := range []string{"pillion/auth/1", now, string(nonce[:]), method, session, meta, handle} {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(field)))
		mac.Write(size[:])
		mac.Write([]byte(field))
	}
	return "t=@" + now + ", n=:" + base64.StdEncoding.EncodeToString(nonce[:]) + ":, mac=:" + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + ":"
}
