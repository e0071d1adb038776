package head

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// FuzzHopByHop gives an engine's first look at a head what a client may say about its connection.
func FuzzHopByHop(f *testing.F) {
	f.Add("Upgrade, HTTP2-Settings", "h2c", "X-A")
	f.Add("close, pillion-session", "websocket, H2C ,chat", "Te")
	f.Add(", ,\x00", "\xff", "")
	f.Fuzz(func(t *testing.T, connection, upgrade, name string) {
		fields := Fields{{"Connection", connection}, {"Upgrade", upgrade}, {"TE", "trailers"}, {"Http2-Settings", "x"}, {name, "1"}}
		offered := fields.Upgrade()
		for protocol := range strings.SplitSeq(offered, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "h2c") || !isPrintable(protocol) {
				t.Errorf("%q offers %q", upgrade, offered)
			}
		}
		fields.EndHop()
		for _, gone := range fields {
			if OfOneHop(gone.Name) {
				t.Errorf("%s is left", gone.Name)
			}
			for item := range strings.SplitSeq(connection, ",") {
				if strings.EqualFold(gone.Name, strings.Trim(item, " \t")) && gone.Name != "" && !looksLike(gone.Name, "pillion-") { // RFC 9110, section 5.6.3
					t.Errorf("%q is named in Connection and left", item)
				}
			}
		}
	})
}

// H1, H5: what a trailer may not say, in all spellings.
func TestEndTrailer(t *testing.T) {
	fields := Fields{
		{"X-Sum", "1"}, {"Pillion-Op", "x"}, {"PILLION_META", "x"}, {"pillion.op", "x"}, {"X_Forwarded_For", "x"}, {"Set-Cookie", "x"}, {"set_cookie", "x"},
		{"Host", "x"}, {"Content_Length", "1"}, {"Connection", "X-Named"}, {"x-named", "x"}, {"TE", "x"}, {"Forwarded", "x"}, {"ETag", "2"},
	}
	fields.EndTrailer()
	if got := fmt.Sprint(fields); got != "[{X-Sum 1} {ETag 2}]" {
		t.Errorf("left: %s", got)
	}
}

// The glance at a target misses nothing that decodes to the peer path or the health path.
func TestOwnPaths(t *testing.T) {
	o := EngineOptions{HealthPath: "/up"}.WithDefaults()
	for target, want := range map[string]int{
		"/": 0, "/up": 200, "/up?x": 200, "/%75p": 200, "/up/": 0, "/upper": 0,
		PeerPath: 404, PeerPath + "/join": 404, "/x/../.well-known/pillion/%70eer/join": 404, "/%2ewell-known//pillion/peer": 404, "/.well-known/pil%6cion/peer?x": 404,
		"/.well-known/pillion/peers": 0, "/.well-known/pillion/other": 0, "/%zz/pillion": 0,
	} {
		got := 0
		if reply := o.Own("GET", target, false); reply != nil {
			got = reply.Status
		}
		if got != want {
			t.Errorf("%s: %d, want %d", target, got, want)
		}
	}
}

// M8, H12: the client is the last in the chain that no trusted proxy is; what it says itself counts for nothing.
func TestClient(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for _, row := range []struct{ remote, chain, want string }{
		{"192.0.2.1", "", "192.0.2.1"},
		{"192.0.2.1", "192.0.2.1", "192.0.2.1"},
		{"10.0.0.1", "192.0.2.7, 10.0.0.1", "192.0.2.7"},
		{"10.0.0.1", "203.0.113.9, 192.0.2.7, 10.0.0.2, 10.0.0.1", "192.0.2.7"},
		{"10.0.0.1", "10.0.0.3, 10.0.0.1", "10.0.0.3"},
		{"10.0.0.1", "unknown, 10.0.0.1", "10.0.0.1"},
		{"10.0.0.1", "2001:db8::1,10.0.0.1", "2001:db8::1"},
	} {
		x := Exchange{Remote: netip.AddrPortFrom(netip.MustParseAddr(row.remote), 1)}
		if row.chain != "" {
			x.Request.Fields.Add("X-Forwarded-For", row.chain)
		}
		if got := x.Client(trusted); got != netip.MustParseAddr(row.want) {
			t.Errorf("%s by %s: %s, want %s", row.chain, row.remote, got, row.want)
		}
	}
}
