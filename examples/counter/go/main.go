// Counter counts its visitors' visits in their Pillion sessions. It is a plain net/http server; session.go is all it knows of Pillion.
package main

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const page = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Counter</title>
<body style="font:1.1em/1.6 system-ui,sans-serif;max-width:30em;margin:12vh auto;padding:0 1em;color:#1d2939;background:#fcfcfd">
<p>Served by <strong>%s</strong><p style="font-size:5em;line-height:1;margin:0">%d<p>is what your session counts.
<p><a href="/counter">Count</a> &middot; <a href="/get">Session</a> &middot; <a href="/login?user=ada">Log in</a> &middot; <a href="/logout">Log out</a>`

func main() {
	listener, err := net.Listen("tcp", cmp.Or(os.Getenv("ADDR"), "127.0.0.1:3000"))
	if err == nil {
		fmt.Println("listening on", listener.Addr())
		err = http.Serve(listener, withSession(serve))
	}
	fmt.Fprintln(os.Stderr, "counter:", err)
	os.Exit(1)
}

func serve(w http.ResponseWriter, r *http.Request, s session) {
	q := r.URL.Query()
	key := cmp.Or(q.Get("k"), "count")
	delay, _ := strconv.Atoi(q.Get("delay"))
	time.Sleep(time.Duration(delay) * time.Millisecond)
	switch r.URL.Path {
	case "/":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		reply(w, 200, fmt.Sprintf(page, cmp.Or(os.Getenv("NAME"), "Go"), s.number("count")))
	case "/counter":
		set(w, key, s.number(key)+1)
	case "/get":
		reply(w, 200, string(s))
	case "/set":
		set(w, key, q.Get("v"))
	case "/size":
		size, _ := strconv.ParseUint(q.Get("bytes"), 10, 20)
		set(w, "blob", strings.Repeat("x", int(size)))
	case "/login":
		w.Header().Set("Pillion-Subject", strconv.Quote(q.Get("user")))
		w.Header().Set("Pillion-Op", "renew")
		set(w, "user", q.Get("user"))
	case "/logout", "/invalidate":
		w.Header().Set("Pillion-Op", "destroy")
		reply(w, 200, `{"value":null}`)
	default:
		reply(w, 404, `{"error":"no such page"}`)
	}
}
