package ring

import "testing"

// Ids and refs that an independent implementation computed: sidecars of different versions share a fleet, so they never change.
func TestVectors(t *testing.T) {
	var secret [32]byte
	for i := range secret {
		secret[i] = byte(i)
	}
	random := [16]byte(secret[:16])
	for _, v := range []struct {
		secrets [][]byte
		id      ID
		want    string
	}{
		{[][]byte{secret[:]}, ID{Random: random, Issued: 1763829000, Epoch: 3, Node: "n1", Route: "web1-8080"},
			"aaaqeayeaudaocajbifqydiob5usdziiaabtmli3qiccqji5-n1.web1-8080"},
		{nil, ID{Random: random, Issued: 1763829000, Route: "web1-8080"},
			"aaaqeayeaudaocajbifqydiob5usdziiaaao4uvbiqmwg73l.web1-8080"},
	} {
		keys, err := NewKeys("shop", v.secrets...)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time with a hash that was used before
			if got := keys.Sign(v.id).String(); got != v.want {
				t.Errorf("got %s, want %s", got, v.want)
			}
		}
		if parsed, err := ParseID(v.want); err != nil || !keys.Verify(parsed) {
			t.Errorf("%s: %v, or its MAC is wrong", v.want, err)
		}
	}
	if got, want := Ref("shop", random), "44t4GHnBQml7ku_1LMvxsDFJIYBvFai4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
