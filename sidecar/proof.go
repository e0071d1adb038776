package sidecar

import (
	"encoding/base64"
	"strconv"
	"time"
)

// prove spells Pillion-Auth (H8): a MAC by which the app knows that the session fields came from its sidecar. It covers
// length-prefixed fields: "pillion/auth/1", t, n, method, Pillion-Session or nothing, Pillion-Meta, Pillion-Handle or nothing.
func (h *Handler) prove(method, session, meta, handle string) string {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	var nonce [12]byte
	mustRead(h.opts.Random, nonce[:])
	mac := macOver(h.opts.AppAuth[0], []string{"pillion/auth/1", now, string(nonce[:]), method, session, meta, handle})
	return "t=@" + now + ", n=:" + base64.StdEncoding.EncodeToString(nonce[:]) + ":, mac=:" + base64.StdEncoding.EncodeToString(mac) + ":"
}
