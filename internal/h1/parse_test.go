package h1

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/pillion-proxy/pillion/internal/head"
)

// feed parses text that comes in pieces of n bytes.
func feed(p *headParser, text string, n int) (rest string, done bool, refused *head.Reply) {
	var b buffer
	p.reset(nil)
	for r := strings.NewReader(text); b.fill(&pieces{r, n}) == nil; {
		if done, refused = p.parse(&b); done {
			left, _ := io.ReadAll(r)
			return string(b.unread()) + string(left), true, refused
		}
	}
	return "", false, nil
}

type pieces struct {
	io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(p.n, len(b))]) }

func TestRequestHeads(t *testing.T) {
	long := strings.Repeat("long", 10000)
	for _, c := range []struct{ name, text, want string }{
		{"plain", "GET /a?b HTTP/1.1\r\nHost: h:1\r\nx-A:  1\t\r\nX-a:\r\n\r\nrest", "GET /a?b h:1 1.1 [{x-A 1} {X-a }] rest"},
		{"empty line before", "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / h 1.1 [] "},
		{"two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "request line is malformed"},
		{"1.0", "GET / HTTP/1.0\r\n\r\n", "GET /  1.0 [] "},
		{"absolute", "GET HTTP://other:8/p?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET /p?q other:8 1.1 [] "},
		{"absolute without path", "GET http://other HTTP/1.1\r\nHost: h\r\n\r\n", "GET / other 1.1 [] "},
		{"absolute with a user", "GET http://u@other/ HTTP/1.1\r\nHost: h\r\n\r\n", "request target is malformed"},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * h 1.1 [] "},
		{"asterisk for GET", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "request target is malformed"},
		{"query as it came", "GET /?%zz&a=\"<\xff HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?%zz&a=\"<\xff h 1.1 [] "},
		{"half an escape", "GET /%2 HTTP/1.1\r\nHost: h\r\n\r\n", "request target is malformed"},
		{"tab for a space", "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", "request line is malformed"},
		{"0.9", "GET /\r\n\r\n", "request line is malformed"},
		{"2.0", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", "HTTP version is not supported"},
		{"lower case version", "GET / http/1.1\r\nHost: h\r\n\r\n", "request line is malformed"},
		{"bare LF", "GET / HTTP/1.1\nHost: h\r\n\r\n", "line does not end with CR and LF"},
		{"bare CR", "GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", "field value has a control character"},
		{"DEL in a long value", "GET / HTTP/1.1\r\nHost: h\r\nA: 0123456789\x7f0123456789\r\n\r\n", "field value has a control character"},
		{"UTF-8 in a value", "GET / HTTP/1.1\r\nHost: h\r\nA: \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\tb\r\n\r\n", "GET / h 1.1 [{A \xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\tb}] "},
		{"folded", "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "field line is folded"},
		{"no colon", "GET / HTTP/1.1\r\nHost: h\r\nA\r\n\r\n", "field line has no colon"},
		{"space before the colon", "GET / HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n", "field name is malformed"},
		{"Host twice", "GET / HTTP/1.1\r\nHost: h\r\nhost: h\r\n\r\n", "Host is missing, repeated or malformed"},
		{"Host with a slash", "GET / HTTP/1.1\r\nHost: h/\r\n\r\n", "Host is missing, repeated or malformed"},
		{"length twice", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "Content-Length is repeated or no number"},
		{"long value", "GET / HTTP/1.1\r\nHost: h\r\nA: " + long + "\r\n\r\nrest", "GET / h 1.1 [{A " + long + "}] rest"},
	} {
		for _, n := range []int{1, 7, len(c.text)} {
			var p headParser
			rest, done, refused := feed(&p, c.text, n)
			got := describe(&p) + rest
			if refused != nil {
				got = strings.TrimSpace(refused.Body)
			}
			if !done || got != c.want {
				t.Errorf("%s, in pieces of %d: %.200q, want %.200q", c.name, n, got, c.want)
			}
		}
	}
}

func describe(p *headParser) string {
	fields := "["
	for i, f := range p.Fields {
		fields += strings.Repeat(" ", min(i, 1)) + "{" + f.Name + " " + f.Value + "}"
	}
	return p.Method + " " + p.Target + " " + p.Authority + " 1." + string('0'+p.minor) + " " + fields + "] "
}

// Lines that never end are refused before they fill memory.
func TestLongestLine(t *testing.T) {
	p := headParser{maxBytes: 1000}
	if _, done, refused := feed(&p, "GET / HTTP/1.1\r\nA: "+strings.Repeat("a", 5000), 100); !done || refused != head.TooLongFields {
		t.Errorf("%v %v", done, refused)
	}
	p = headParser{}
	if _, done, refused := feed(&p, "GET /"+strings.Repeat("a", 2*maxHead), 4096); !done || refused != head.TooLongFields {
		t.Errorf("%v %v", done, refused)
	}
}

// FuzzRequestHead holds the parser against net/http's: what both accept means the same, and what the parser accepts net/http does.
func FuzzRequestHead(f *testing.F) {
	for _, text := range []string{
		"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
		"POST /a%20b?c HTTP/1.1\r\nHost: h:80\r\nContent-Length: 3\r\nCookie: a=b\r\n\r\nabc",
		"POST http://o/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
		"GET / HTTP/1.0\r\nConnection: keep-alive, x\r\nX: 1\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\n",
	} {
		f.Add([]byte(text), byte(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, n byte) {
		var p headParser
		rest, done, refused := feed(&p, string(text), int(n)+1)
		var again headParser
		rest2, done2, refused2 := feed(&again, string(text), len(text)+1)
		if done != done2 || refused != refused2 || rest != rest2 || describe(&p) != describe(&again) {
			t.Fatalf("pieces matter: %q", text)
		}
		if !done || refused != nil {
			return
		}
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\r\n")))))
		if err != nil {
			t.Skip() // stricter in a thing of its own, such as the host of an absolute target
		}
		if req.Method != p.Method || req.Host != p.Authority || req.ProtoMinor != int(p.minor) {
			t.Fatalf("%q is %s %s to net/http", text, req.Method, req.Host)
		}
		if length := req.ContentLength; p.chunked != (length < 0) || !p.chunked && length != max(0, p.length) {
			t.Fatalf("%q has the length %d to net/http, %d here", text, length, p.length)
		}
		for _, field := range p.Fields {
			if values := req.Header.Values(field.Name); !contains(values, field.Value) && !strings.EqualFold(field.Name, "Trailer") {
				t.Fatalf("%q: %s is %q to net/http, %q here", text, field.Name, values, field.Value)
			}
		}
		sameBody(t, &p, req, rest)
	})
}

func contains(values []string, value string) bool {
	for _, v := range values {
		if v == value {
			return true
		}
	}
	return false
}

// sameBody reads the body both ways. net/http takes some chunked bodies that are refused here.
func sameBody(t *testing.T, p *headParser, req *http.Request, rest string) {
	ours, err := readBody(p, rest)
	if err != nil {
		return
	}
	theirs, err := io.ReadAll(req.Body)
	if err != nil || string(theirs) != string(ours) {
		t.Fatalf("body %q, to net/http %q, %v", ours, theirs, err)
	}
}

func readBody(p *headParser, rest string) (all []byte, err error) {
	var b body
	var in buffer
	b.buf = &in
	source := strings.NewReader(rest)
	b.from = func() error { return in.fillBody(source) }
	switch {
	case p.chunked:
		b.reset(byChunks, -1)
	case p.length > 0:
		b.reset(byLength, p.length)
	default:
		b.reset(noBody, 0)
	}
	for {
		part, err := b.next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
	}
}
