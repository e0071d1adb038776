package memcachedtest

import (
	"testing"
)

func TestMessage(t *testing.T) {
	for _, message := range []string{
		"gets key\r\n", "add key 0 60 3\r\na\r\n\r\n", "cas key 0 60 3 42\r\nabc\r\n", "END\r\n", "STORED\r\n", "SERVER_ERROR out of memory storing object\r\n",
		"VALUE key 0 3 42\r\nabc\r\nEND\r\n", "VALUE key 0 5 42\r\nEND\r\n\r\nVALUE other 0 0 1\r\n\r\nEND\r\n",
	} {
		if n := Message([]byte(message + "gets next\r\n")); n != len(message) {
			t.Errorf("%q has %d bytes, not %d", message, len(message), n)
		}
		for cut := range len(message) {
			if n := Message([]byte(message[:cut])); n != 0 {
				t.Errorf("%q is whole with %d bytes", message[:cut], n)
			}
		}
	}
}
