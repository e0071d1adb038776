package h1

import (
	"net/http"
	"strconv"

	"github.com/pillion-proxy/pillion/internal/head"
)

// statusLine reads the version and the status (RFC 9112, section 4). The reason phrase means nothing and is not passed on.
func (p *headParser) statusLine(line []byte) *head.Reply {
	const before = len("HTTP/1.1 ")
	if len(line) < before+3 || len(line) > before+3 && line[before+3] != ' ' || !visible(line) {
		return badStatus
	}
	switch string(line[:before]) {
	case "HTTP/1.1 ":
		p.minor = 1
	case "HTTP/1.0 ":
	default:
		return badStatus
	}
	for _, c := range line[before : before+3] {
		if c < '0' || c > '9' {
			return badStatus
		}
		p.Status = p.Status*10 + int(c-'0')
	}
	if p.Status < 100 {
		return badStatus
	}
	return nil
}

// badStatus is never sent: whatever is wrong with an answer is a 502.
var badStatus = refusal(http.StatusBadGateway, "status line is malformed")

// statusLines are the first lines of responses in HTTP/1.1.
var statusLines = func() (lines [1000]string) {
	for status := range lines {
		lines[status] = "HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n"
	}
	return lines
}()

// hasBody tells whether a body may follow the final head of an answer to method (RFC 9112, section 6.3).
func hasBody(method string, status int) bool {
	return method != http.MethodHead && status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
