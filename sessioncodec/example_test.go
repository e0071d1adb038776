package sessioncodec_test

import (
	"bytes"
	"fmt"

	"github.com/pillion-proxy/pillion/sessioncodec"
)

// Two requests change different attributes at once, each beginning with the same copy; both changes survive.
func Example() {
	codec, err := sessioncodec.New(sessioncodec.Options{
		Space: "shop",
		Seal:  &sessioncodec.Key{ID: 1, Secret: bytes.Repeat([]byte{42}, 32)},
	})
	if err != nil {
		panic(err)
	}
	const key = "p1:shop:n2bd3cjqkqhdzvvxmrq3jtlnc5wxkq0a"
	born := &sessioncodec.Record{Created: 1_700_000_000_000, Accessed: 1_700_000_000_000, Idle: 1800, Lifetime: 86400}

	cart := born.With(sessioncodec.Entry{Name: "cart", Value: []byte(`["book"]`), Stamp: sessioncodec.Stamp{Clock: 1_700_000_000_001, Writer: 1}})
	user := born.With(sessioncodec.Entry{Name: "user", Value: []byte(`{"id":7}`), Stamp: sessioncodec.Stamp{Clock: 1_700_000_000_002, Writer: 2}})

	blob, err := codec.Seal(key, cart)
	if err != nil {
		panic(err)
	}
	stored, err := codec.Open(key, blob)
	if err != nil {
		panic(err)
	}
	for _, e := range sessioncodec.Join(stored, user).Entries {
		fmt.Printf("%s = %s\n", e.Name, e.Value)
	}
	_, err = codec.Open("p1:shop:another-session", blob)
	fmt.Println(sessioncodec.Class(err))
	// Output:
	// cart = ["book"]
	// user = {"id":7}
	// auth
}
