package h1

import (
	"bytes"
	"net/http"
	"strings"
	"unsafe"

	"github.com/pillion-proxy/pillion/internal/head"
)

// maxHead is the longest head whatever Limits say, and the longest line of one.
const maxHead = 256 << 10

// framing is what a head says about its message (RFC 9112, section 6) and its connection. Those fields are the engine's to write anew.
type framing struct {
	minor   byte  // of HTTP/1.x
	length  int64 // of Content-Length, -1 without
	chunked bool
	close   bool // Connection: close
	keep    bool // Connection: keep-alive
	ends    bool // other fields of one connection: see Fields.EndHop
	upgrade bool // an Upgrade field
}

// headParser takes a head line by line out of a buffer and goes on where it stopped when more has come. Nothing is copied: its strings
// point into the buffer.
type headParser struct {
	framing
	head.Head
	answer  bool // the head of a response
	trailer bool // trailer fields: nothing frames them

	started bool // the first line was taken
	skipped bool // the empty line before a request (RFC 9112, section 2.2)
	hosts   int
	coded   int // Transfer-Encoding fields
	lengths int // Content-Length fields
	expect  string

	lines, bytes int // of field lines
	maxLines     int // 0 is no limit
	maxBytes     int
	searched     int // of the unread bytes, without an end of line
}

func (p *headParser) reset(fields head.Fields) {
	*p = headParser{answer: p.answer, maxLines: p.maxLines, maxBytes: p.maxBytes}
	p.length = -1
	p.Fields = fields[:0]
}

// parse takes what lines there are. It is done after the empty line, or with the answer to a head that is refused.
func (p *headParser) parse(b *buffer) (done bool, refused *head.Reply) {
	for {
		unread := b.unread()
		end := bytes.IndexByte(unread[p.searched:], '\n')
		if p.searched += max(end, 0); end < 0 {
			p.searched = len(unread)
		}
		switch {
		case p.searched > p.longest():
			return true, head.TooLongFields
		case end < 0:
			return false, nil
		}
		end = p.searched
		p.searched = 0
		if end == 0 || unread[end-1] != '\r' {
			return true, bareLF
		}
		line := b.take(end + 1)[:end-1]
		switch {
		case len(line) == 0 && p.started:
			return true, p.judge()
		case len(line) == 0 && !p.answer && !p.skipped:
			p.skipped = true
		case !p.started:
			p.started = true
			if refused = p.first(line); refused != nil {
				return true, refused
			}
		default:
			if refused = p.field(line); refused != nil {
				return true, refused
			}
		}
	}
}

// longest is the longest line that may still come.
func (p *headParser) longest() int {
	if p.started && p.maxBytes > 0 {
		return min(maxHead, p.maxBytes+len("\r\n"))
	}
	return maxHead
}

func (p *headParser) first(line []byte) *head.Reply {
	if p.answer {
		return p.statusLine(line)
	}
	return p.requestLine(line)
}

// field takes one field line (RFC 9112, section 5). A space before the colon, a name that is no token and a line that goes on with
// the one before are three ways to say one thing to us and another to the app (P1, P4).
func (p *headParser) field(line []byte) *head.Reply {
	p.lines++
	p.bytes += len(line) + len("\r\n")
	switch {
	case p.maxLines > 0 && p.lines > p.maxLines:
		return head.TooManyFields
	case p.bytes > maxHead || p.maxBytes > 0 && p.bytes > p.maxBytes:
		return head.TooLongFields
	case line[0] == ' ' || line[0] == '\t':
		return obsFold
	}
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return noColon
	}
	name, value := line[:colon], trim(line[colon+1:])
	if !all(name, isToken) {
		return badName
	}
	if !visible(value) {
		return badValue
	}
	f := head.Field{Name: text(name), Value: text(value)}
	if !p.trailer {
		if kept, refused := p.framingField(f); !kept || refused != nil {
			return refused
		}
	}
	p.Fields = append(p.Fields, f)
	return nil
}

// framingField reads the fields that frame the message. Of those the engine writes anew only Content-Length stays for the Handler to see.
func (p *headParser) framingField(f head.Field) (kept bool, refused *head.Reply) {
	switch len(f.Name) {
	case 2, 16, 18, 19, 25:
		p.ends = p.ends || f.Name[0]|0x20 == 'p' || f.Name[0]|0x20 == 't' // TE and the Proxy- ones
	case 4:
		if strings.EqualFold(f.Name, "Host") && !p.answer {
			p.hosts++
			if f.Value != "" && !all(f.Value, isHost) {
				return false, badHost
			}
			p.Authority = f.Value
			return false, nil
		}
	case 6:
		if strings.EqualFold(f.Name, "Expect") && !p.answer {
			p.expect = f.Value
		}
	case 7:
		if strings.EqualFold(f.Name, "Upgrade") {
			p.upgrade, p.ends = true, true
		} else if strings.EqualFold(f.Name, "Trailer") {
			p.ends = true
		}
	case 10:
		if strings.EqualFold(f.Name, "Connection") {
			return p.connection(f.Value), nil
		}
		p.ends = p.ends || strings.EqualFold(f.Name, "Keep-Alive")
	case 14:
		if strings.EqualFold(f.Name, "Content-Length") {
			p.lengths++
			return true, p.contentLength(f.Value)
		}
		p.ends = p.ends || head.OfOneHop(f.Name)
	case 17:
		if strings.EqualFold(f.Name, "Transfer-Encoding") {
			p.coded++
			p.chunked = strings.EqualFold(f.Value, "chunked")
			return false, nil
		}
		p.ends = p.ends || head.OfOneHop(f.Name)
	}
	return true, nil
}

// connection reads a Connection field and tells whether it names more than what becomes of the connection.
func (p *headParser) connection(value string) (more bool) {
	switch { // what nearly every client says, at a glance
	case strings.EqualFold(value, "keep-alive"):
		p.keep = true
		return false
	case strings.EqualFold(value, "close"):
		p.close = true
		return false
	}
	for item := range head.Items(value) {
		switch {
		case strings.EqualFold(item, "close"):
			p.close = true
		case strings.EqualFold(item, "keep-alive"):
			p.keep = true
		default:
			more = true
		}
	}
	p.ends = p.ends || more
	return more
}

// contentLength takes digits and nothing else: a sign, a space or a list is read differently by others (P1).
func (p *headParser) contentLength(value string) *head.Reply {
	if p.lengths > 1 || value == "" || len(value) > 18 {
		return badLength
	}
	p.length = 0
	for i := range len(value) {
		if value[i] < '0' || value[i] > '9' {
			return badLength
		}
		p.length = p.length*10 + int64(value[i]-'0')
	}
	return nil
}

// judge looks at the head as a whole.
func (p *headParser) judge() *head.Reply {
	if p.trailer {
		return nil
	}
	switch {
	case p.coded > 0 && (p.lengths > 0 || p.minor == 0):
		return twoFramings // RFC 9112, sections 6.1 and 6.3 (P1)
	case p.coded > 1 || p.coded == 1 && !p.chunked:
		return unknownCoding
	case p.answer:
		return nil
	case p.hosts > 1 || p.hosts == 0 && p.minor > 0:
		return badHost
	case p.expect != "" && p.minor > 0 && !strings.EqualFold(p.expect, "100-continue"):
		return unknownExpectation
	}
	return p.settleTarget()
}

// text is b as a string that shares its bytes: those of a buffer's kept part, which nobody writes again.
func text(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

var (
	bareLF     = refusal(http.StatusBadRequest, "line does not end with CR and LF")
	obsFold    = refusal(http.StatusBadRequest, "field line is folded")
	noColon    = refusal(http.StatusBadRequest, "field line has no colon")
	badName    = refusal(http.StatusBadRequest, "field name is malformed")
	badValue   = refusal(http.StatusBadRequest, "field value has a control character")
	badHost    = refusal(http.StatusBadRequest, "Host is missing, repeated or malformed")
	badLength  = refusal(http.StatusBadRequest, "Content-Length is repeated or no number")
	badRequest = refusal(http.StatusBadRequest, "request line is malformed")
	badTarget  = refusal(http.StatusBadRequest, "request target is malformed")

	twoFramings        = refusal(http.StatusBadRequest, "Transfer-Encoding in HTTP/1.0 or beside Content-Length")
	unknownCoding      = refusal(http.StatusNotImplemented, "transfer coding is not exactly chunked")
	unknownExpectation = refusal(http.StatusExpectationFailed, "expectation is unknown")
	preface            = refusal(http.StatusHTTPVersionNotSupported, "HTTP/2 is not served here")
	unknownVersion     = refusal(http.StatusHTTPVersionNotSupported, "HTTP version is not supported")
)

func refusal(status int, details string) *head.Reply {
	return head.Fail(status, head.RequestRefused, details)
}
