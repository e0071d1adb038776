package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// session makes a session that an app is given as about size bytes of JSON: a shop's cart, of items of about 100 bytes.
func session(size int) *sessioncodec.Record {
	random := rand.New(rand.NewPCG(1, 2))
	r := &sessioncodec.Record{
		Created: 1_700_000_000_000, Accessed: 1_700_000_060_000, Idle: 1800, Lifetime: 86400,
		Owner: sessioncodec.Owner{Epoch: 1, Route: "web1-8080", Incarnation: random.Uint64()},
	}
	for i := 0; len(sessioncodec.AppendObject(nil, r)) < size; i++ {
		r.Entries = append(r.Entries, sessioncodec.Entry{
			Name:  fmt.Sprintf("item%03d", i),
			Stamp: sessioncodec.Stamp{Clock: uint64(r.Created) + uint64(i), Writer: r.Owner.Incarnation},
			Value: fmt.Appendf(nil, `{"sku":"%08x","name":"article %x","quantity":%d,"price":"%d.90","added":%d}`,
				random.Uint32(), random.Uint64(), 1+random.IntN(9), random.IntN(200), 1_700_000_000+random.IntN(1e6)),
		})
	}
	return r
}
