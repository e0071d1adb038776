package h1

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestProxyHeaders(t *testing.T) {
	v2 := func(command, family byte, block string) string {
		return proxySignature + string([]byte{0x20 | command, family, byte(len(block) >> 8), byte(len(block))}) + block
	}
	v4 := "\x01\x02\x03\x04\x05\x06\x07\x08\x1f\x90\x00\x50"
	v6 := "\x20\x01" + strings.Repeat("\x00", 13) + "\x01" + strings.Repeat("\x00", 16) + "\x1f\x90\x00\x50"
	for _, c := range []struct{ name, text, want string }{
		{"TCP4", "PROXY TCP4 1.2.3.4 5.6.7.8 8080 80\r\n", "1.2.3.4:8080"},
		{"TCP6", "PROXY TCP6 2001::1 ::1 8080 80\r\n", "[2001::1]:8080"},
		{"unknown", "PROXY UNKNOWN\r\n", "invalid AddrPort"},
		{"unknown with addresses", "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "invalid AddrPort"},
		{"version 2, TCP4", v2(1, 0x11, v4), "1.2.3.4:8080"},
		{"version 2, TCP4 with extensions", v2(1, 0x11, v4+"\x04\x00\x01x"), "1.2.3.4:8080"},
		{"version 2, TCP6", v2(1, 0x21, v6), "[2001::1]:8080"},
		{"version 2, local", v2(0, 0, ""), "invalid AddrPort"},
		{"version 2, Unix socket", v2(1, 0x31, strings.Repeat("x", 216)), "invalid AddrPort"},
		{"wrong family", "PROXY TCP4 ::1 ::1 8080 80\r\n", "error"},
		{"wrong port", "PROXY TCP4 1.2.3.4 5.6.7.8 80800 80\r\n", "error"},
		{"too few words", "PROXY TCP4 1.2.3.4 5.6.7.8\r\n", "error"},
		{"no end", "PROXY TCP4 " + strings.Repeat("1", 200), "error"},
		{"none", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "error"},
		{"version 3", proxySignature + "\x31\x11\x00\x0c" + v4, "error"},
		{"short block", v2(1, 0x11, "\x01\x02"), "error"},
		{"long block", proxySignature + "\x21\x11\xff\xff", "error"},
	} {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = io.WriteString(theirs, c.text)
			_, _ = io.WriteString(theirs, "!")
			_ = theirs.Close()
		}()
		_ = ours.SetDeadline(time.Now().Add(10 * time.Second))
		from, err := readProxyHeader(ours)
		got := from.String()
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
		if rest, _ := io.ReadAll(ours); err == nil && string(rest) != "!" {
			t.Errorf("%s: %q follows", c.name, rest)
		}
	}
}
