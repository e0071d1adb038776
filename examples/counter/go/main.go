// A visitor counter in a Pillion session: the header contract in Go, with nothing but the standard library.
package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
)

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counter</title>
<body style="font:1.1em/1.6 system-ui,sans-serif;max-width:30em;margin:12vh auto;padding:0 1em;color:#1d2939;background:#fcfcfd">
<p>Served by <strong>%s</strong><p style="font-size:5em;line-height:1;margin:0">%.0f<p>is what your session counts.
<p><a href="/counter">Count</a> &middot; <a href="/get">Session</a> &middot; <a href="/login?user=ada">Log in</a> &middot; <a href="/logout">Log out</a>`

func main() {
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:3000"))
	if err != nil {
		panic(err)
	}
	fmt.Println("listening on", listener.Addr())
	panic(http.Serve(listener, http.HandlerFunc(serve)))
}

func serve(w http.ResponseWriter, r *http.Request) {
	q, status, body, session := r.URL.Query(), 200, "", read(r.Header)
	key := cmp.Or(q.Get("k"), "count")
	set, value := "", any(nil) // an attribute to set, and what the answer shows
	var attributes map[string]any
	unreadable := json.Unmarshal(session, &attributes)
	number := func(name string) float64 { n, _ := attributes[name].(float64); return n }
	delay, _ := strconv.Atoi(q.Get("delay"))
	time.Sleep(time.Duration(delay) * time.Millisecond)
	w.Header().Set("Content-Type", "application/json")
	switch path := r.URL.Path; {
	case unreadable != nil:
		status, body = 503, `{"error":"session not readable"}`
	case path == "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		body = fmt.Sprintf(page, cmp.Or(os.Getenv("NAME"), "Go"), number("count"))
	case path == "/counter":
		set, value = key, number(key)+1
	case path == "/get":
		body = string(session)
	case path == "/set":
		set, value = key, q.Get("v")
	case path == "/size":
		size, _ := strconv.ParseUint(q.Get("bytes"), 10, 20)
		set, value = "blob", strings.Repeat("x", int(size))
	case path == "/login":
		set, value = "user", q.Get("user")
		w.Header().Set("Pillion-Subject", ascii(value))
		w.Header().Set("Pillion-Op", "renew")
	case path == "/logout" || path == "/invalidate":
		w.Header().Set("Pillion-Op", "destroy")
	default:
		status, body = 404, `{"error":"no such page"}`
	}
	if set != "" {
		w.Header().Set("Pillion-Patch", ascii(map[string]any{set: value}))
	}
	body = cmp.Or(body, ascii(map[string]any{"value": value}))
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// read returns the session: from its header, or from the loopback API when it is too large for one.
func read(h http.Header) (session []byte) {
	if !strings.Contains(h.Get("Pillion-Meta"), "inline=?0") {
		return []byte(cmp.Or(h.Get("Pillion-Session"), "{}"))
	}
	req, _ := http.NewRequest("GET", os.Getenv("PILLION_API")+"/v1/session", nil)
	req.Header.Set("Pillion-Handle", h.Get("Pillion-Handle"))
	if answer, err := http.DefaultClient.Do(req); err == nil {
		defer answer.Body.Close()
		if answer.StatusCode == 200 {
			session, _ = io.ReadAll(answer.Body) // half of it is no JSON
		}
	}
	return session
}

var beyond = regexp.MustCompile(`[^ -~]`)

// ascii is the JSON of a value, with \uXXXX for all but ASCII: a header holds nothing else.
func ascii(value any) string {
	text, _ := json.Marshal(value)
	return beyond.ReplaceAllStringFunc(string(text), func(c string) (escaped string) {
		for _, unit := range utf16.Encode([]rune(c)) {
			escaped += fmt.Sprintf(`\u%04x`, unit)
		}
		return escaped
	})
}
