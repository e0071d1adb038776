package h2

import (
	"net/http"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pillion-proxy/pillion/internal/head"
)

// Every line survives the way through net/http's map, and the lines of a name keep their order.
func TestFieldsSurviveTheMap(t *testing.T) {
	line := rapid.Custom(func(t *rapid.T) head.Field {
		name := rapid.SampledFrom([]string{"Cookie", "cookie", "X-A", "x-a", "X_A", "Set-Cookie", "ETag"}).Draw(t, "name")
		return head.Field{Name: name, Value: rapid.StringMatching(`[a-z]{0,4}`).Draw(t, "value")}
	})
	rapid.Check(t, func(t *rapid.T) {
		sent := head.Fields(rapid.SliceOf(line).Draw(t, "fields"))
		h := http.Header{}
		toHeader(h, sent)
		got := fromHeader(h)
		if len(got) != len(sent) {
			t.Fatalf("%d lines became %d", len(sent), len(got))
		}
		for _, f := range sent {
			if !slices.Equal(got.Values(f.Name), sent.Values(f.Name)) {
				t.Fatalf("%s: %q became %q", f.Name, sent.Values(f.Name), got.Values(f.Name))
			}
		}
		for name, values := range h { // appending to one name must not reach into another's
			h[name] = append(values, "more")
		}
		if after := fromHeader(h); len(after) != len(sent)+len(h) {
			t.Fatalf("lines were lost: %q", after)
		}
	})
}

func TestAddressesSurviveTheURL(t *testing.T) {
	for _, to := range []head.To{
		{Network: "tcp", Address: "127.0.0.1:3000"}, {Network: "tcp", Address: "[::1]:3000"}, {Network: "tcp", Address: "app.internal:80"},
		{Network: "unix", Address: "/run/app.sock"}, {Network: "unix", Address: "@abstract"}, {Network: "unix", Address: "/a b/ä:1"},
	} {
		if network, address := addressOf(hostOf(to)); network != to.Network || address != to.Address {
			t.Errorf("%v became %s %s", to, network, address)
		}
	}
}
