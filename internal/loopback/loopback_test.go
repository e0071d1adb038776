package loopback_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pillion-proxy/pillion/internal/loopback"
)

func TestHost(t *testing.T) {
	tcp := func(s string) net.Addr {
		a, err := net.ResolveTCPAddr("tcp", s)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	unix := &net.UnixAddr{Net: "unix", Name: "/run/pillion.sock"}
	tests := []struct {
		host  string
		local net.Addr
		names []string
		want  bool
	}{
		{"127.0.0.1:9901", tcp("127.0.0.1:9901"), nil, true},
		{"127.0.0.1", tcp("127.0.0.1:9901"), nil, true},
		{"127.8.9.1:1", tcp("127.0.0.1:9901"), nil, true},
		{"localhost:9901", tcp("127.0.0.1:9901"), nil, true},
		{"LocalHost", tcp("127.0.0.1:9901"), nil, true},
		{"[::1]:9901", tcp("[::1]:9901"), nil, true},
		{"[::1]", tcp("[::1]:9901"), nil, true},
		{"10.1.2.3:9901", tcp("10.1.2.3:9901"), nil, true},
		{"10.1.2.3", tcp("[::ffff:10.1.2.3]:9901"), nil, true},
		{"10.1.2.4:9901", tcp("10.1.2.3:9901"), nil, false},
		{"[fd00::7]:9901", tcp("[fd00::7]:9901"), nil, true},
		{"pillion.internal:9901", tcp("10.1.2.3:9901"), []string{"pillion.internal"}, true},
		{"Pillion.internal:9901", tcp("10.1.2.3:9901"), []string{"pillion.internal:9901"}, true},
		{"evil.example:9901", tcp("127.0.0.1:9901"), []string{"pillion.internal"}, false},
		{"localhost.evil.example", tcp("127.0.0.1:9901"), nil, false},
		{"127.0.0.1.evil.example", tcp("127.0.0.1:9901"), nil, false},
		{"", tcp("127.0.0.1:9901"), nil, false},
		{"unix", unix, nil, true},
		{"localhost", unix, nil, true},
		{"unix", tcp("127.0.0.1:9901"), nil, false},
		{"evil.example", nil, nil, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = tt.host
		if tt.local != nil {
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, tt.local))
		}
		if got := loopback.Host(r, tt.names...); got != tt.want {
			t.Errorf("Host %q on %v, names %q: %v, want %v", tt.host, tt.local, tt.names, got, tt.want)
		}
	}
}

func TestAddr(t *testing.T) {
	tests := []struct {
		addr net.Addr
		want bool
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9901}, true},
		{&net.TCPAddr{IP: net.IPv6loopback}, true},
		{&net.TCPAddr{IP: net.IPv4zero}, false},
		{&net.TCPAddr{}, false},
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)}, false},
		{&net.UnixAddr{Name: "/run/pillion.sock"}, true},
		{nil, false},
	}
	for _, tt := range tests {
		if got := loopback.Addr(tt.addr); got != tt.want {
			t.Errorf("Addr(%v) = %v, want %v", tt.addr, got, tt.want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	tests := []struct {
		origin, site string
		tls          bool
		want         bool
	}{
		{"", "", false, true},
		{"", "none", false, true},
		{"", "same-origin", false, true},
		{"", "same-site", false, false},
		{"", "cross-site", false, false},
		{"http://127.0.0.1:9901", "", false, true},
		{"http://127.0.0.1:9901", "same-origin", false, true},
		{"http://127.0.0.1:9901", "cross-site", false, false},
		{"http://127.0.0.1:9902", "", false, false},
		{"https://127.0.0.1:9901", "", false, false},
		{"https://127.0.0.1:9901", "", true, true},
		{"null", "", false, false},
		{"https://evil.example", "", false, false},
		{"https://evil.example", "same-origin", false, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "http://127.0.0.1:9901/", nil)
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		if tt.site != "" {
			r.Header.Set("Sec-Fetch-Site", tt.site)
		}
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := loopback.SameOrigin(r); got != tt.want {
			t.Errorf("Origin %q, Sec-Fetch-Site %q, tls %v: %v, want %v", tt.origin, tt.site, tt.tls, got, tt.want)
		}
	}
}
