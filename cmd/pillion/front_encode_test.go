package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// What a client with zstd sees of answers that stream, have no body, or are a part; and what one without sees.
func TestFrontEncodesAnswers(t *testing.T) {
	t.Parallel()
	port := portsOf(1)[0]
	f := startFollowSite(t, fmt.Sprintf("apps: {shop: {}}\nlisteners: [{address: 127.0.0.1, port: %d}]\n", port))
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, "it serves", func() bool { return f.serves(t, url) })
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: patience}
	t.Cleanup(client.CloseIdleConnections)
	ask := func(method, query, accept string) *http.Response {
		r, err := http.NewRequest(method, url+"?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", accept)
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		return answer
	}
	for _, tc := range []struct{ method, query, accept, encoding, length string }{
		{"GET", "page", "gzip, zstd", "zstd", ""},
		{"HEAD", "page", "gzip, zstd", "zstd", ""}, // as GET would be
		{"GET", "page", "br", "", "5500"},
		{"HEAD", "page", "br", "", "5500"},
		{"GET", "part", "zstd", "", "5500"},
		{"GET", "events", "zstd", "", ""},
	} {
		answer := ask(tc.method, tc.query, tc.accept)
		length := answer.Header.Get("Content-Length")
		if answer.Header.Get("Content-Encoding") != tc.encoding || length != tc.length {
			t.Errorf("%s %s for %q: %v", tc.method, tc.query, tc.accept, answer.Header)
		}
		if body, err := io.ReadAll(answer.Body); err != nil || tc.method == "HEAD" && len(body) > 0 {
			t.Errorf("%s %s: %d bytes, %v", tc.method, tc.query, len(body), err)
		}
	}

	stream := ask("GET", "trickle", "zstd")
	plain, err := zstd.NewReader(stream.Body, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	first := make([]byte, len("first"))
	if _, err := io.ReadFull(plain, first); err != nil || string(first) != "first" { // while the app holds the rest
		t.Fatalf("%q, %v", first, err)
	}
	f.sidecar.release()
	if rest, err := io.ReadAll(plain); err != nil || !strings.HasSuffix(string(rest), "last") {
		t.Errorf("%q, %v", rest, err)
	}
}
