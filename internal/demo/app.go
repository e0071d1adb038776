package demo

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page.html
var page string

// App is the demo's counter app: an HTTP server that knows nothing of Pillion but its header contract. Its paths are those of
// examples/counter.
func App(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, page)
	})
	mux.HandleFunc(sessionPath, describeMeta)
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) { reply(w, session(r)) })
	set := func(w http.ResponseWriter, key string, value any) {
		patch(w, map[string]any{key: value})
		reply(w, map[string]any{"value": value, "served_by": name})
	}
	mux.HandleFunc("/counter", func(w http.ResponseWriter, r *http.Request) {
		key := cmp.Or(r.FormValue("k"), "count")
		n, _ := session(r)[key].(float64)
		set(w, key, n+1)
	})
	mux.HandleFunc("/set", func(w http.ResponseWriter, r *http.Request) { set(w, r.FormValue("k"), r.FormValue("v")) })
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Pillion-Subject", strconv.QuoteToASCII(r.FormValue("user")))
		w.Header().Set("Pillion-Op", "renew")
		set(w, "user", r.FormValue("user"))
	})
	logout := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Pillion-Op", "destroy")
		reply(w, map[string]any{"value": nil, "served_by": name})
	}
	mux.HandleFunc("/logout", logout)
	mux.HandleFunc("/invalidate", logout)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ms, err := strconv.Atoi(r.FormValue("delay")); err == nil {
			time.Sleep(min(time.Duration(ms)*time.Millisecond, time.Minute))
		}
		mux.ServeHTTP(w, r)
	})
}

func session(r *http.Request) map[string]any {
	attributes := map[string]any{}
	_ = json.Unmarshal([]byte(r.Header.Get("Pillion-Session")), &attributes)
	return attributes
}

// describeMeta answers the page's question as far as an app knows: behind a front that is not the demo's own. The id is not for apps.
func describeMeta(w http.ResponseWriter, r *http.Request) {
	answer := map[string]any{}
	for member := range strings.SplitSeq(r.Header.Get("Pillion-Meta"), ",") {
		if ref, ok := strings.CutPrefix(strings.TrimSpace(member), "ref="); ok {
			answer["ref"] = strings.Trim(ref, `"`)
		}
	}
	reply(w, answer)
}

func patch(w http.ResponseWriter, change map[string]any) {
	text, _ := json.Marshal(change)
	ascii := make([]byte, 0, len(text))
	for _, c := range string(text) {
		switch {
		case c < 0x7f:
			ascii = append(ascii, byte(c))
		case c < 0x10000:
			ascii = fmt.Appendf(ascii, `\u%04x`, c)
		default:
			c -= 0x10000
			ascii = fmt.Appendf(ascii, `\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
		}
	}
	w.Header().Set("Pillion-Patch", string(ascii))
}

func reply(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}
