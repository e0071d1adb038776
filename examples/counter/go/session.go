package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"unicode/utf16"
)

// session is the JSON object that the app was given.
type session []byte

// withSession reads the session from the request's header, or from the loopback API when it is too large for one.
func withSession(next func(http.ResponseWriter, *http.Request, session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		s := session(cmp.Or(r.Header.Get("Pillion-Session"), "{}"))
		if strings.Contains(r.Header.Get("Pillion-Meta"), "inline=?0") {
			var err error
			if s, err = fetch(r.Header.Get("Pillion-Handle")); err != nil {
				reply(w, 503, `{"error":"session not readable"}`)
				return
			}
		}
		next(w, r, s)
	}
}

func fetch(handle string) (session, error) {
	req, err := http.NewRequest("GET", os.Getenv("PILLION_API")+"/v1/session", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Pillion-Handle", handle)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET /v1/session: %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// number returns an attribute that is a whole number, 0 for any other.
func (s session) number(name string) (n int) {
	var attributes map[string]json.RawMessage
	_ = json.Unmarshal(s, &attributes)
	_ = json.Unmarshal(attributes[name], &n)
	return n
}

// set asks for the attribute in the answer's head and tells the visitor in its body.
func set(w http.ResponseWriter, name string, value any) {
	patch, _ := json.Marshal(map[string]any{name: value})
	var ascii strings.Builder // a header holds nothing else: the rest is \uXXXX
	for _, unit := range utf16.Encode([]rune(string(patch))) {
		if unit < 0x7F {
			ascii.WriteByte(byte(unit))
		} else {
			fmt.Fprintf(&ascii, `\u%04x`, unit)
		}
	}
	w.Header().Set("Pillion-Patch", ascii.String())
	body, _ := json.Marshal(map[string]any{"value": value})
	reply(w, 200, string(body))
}

func reply(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}
