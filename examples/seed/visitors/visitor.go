package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"time"
)

// A visitor is logged in and counts. He tries the next address of the name when a connection is refused or does not come about, as a browser
// does; nothing else is tried twice.
type visitor struct {
	site, name string
	diary      *diary
	client     http.Client
	count      int // as the last answer said
	unknown    int // increments since then that were sent and not answered
}

func newVisitor(site, name string, d *diary) *visitor {
	jar, _ := cookiejar.New(nil) // returns no error
	// The dialer asks for the name, takes its addresses one after the other, and gives each a part of its time, 2 s at least. A connection for
	// each request: what is sent to a kept one that leads to a lost host is lost with it, for every client of every site.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: 6 * time.Second}).DialContext, DisableKeepAlives: true}
	return &visitor{site: site, name: name, diary: d, client: http.Client{Jar: jar, Transport: transport, Timeout: 10 * time.Second}}
}

// ask sends one request and reads its whole answer.
func (v *visitor) ask(method, target string, into any) error {
	began := time.Now()
	err := v.exchange(method, target, into)
	v.diary.note(began, err)
	return err
}

func (v *visitor) exchange(method, target string, into any) error {
	req, err := http.NewRequest(method, v.site+target, nil)
	if err != nil {
		return err
	}
	resp, err := v.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s, %s, %s: %.200s", method, target, resp.Status, resp.Header.Get("Server"), resp.Header.Get("Proxy-Status"), text)
	}
	return json.Unmarshal(text, into)
}

func (v *visitor) logIn() {
	var answer struct{ Value string }
	if err := v.ask("POST", "/login?user="+v.name, &answer); err == nil && answer.Value != v.name {
		v.diary.wrong(fmt.Errorf("%s logged in as %q", v.name, answer.Value))
	}
}

// visit counts, and looks at the whole session after every third time, until stop and once more then.
func (v *visitor) visit(stop <-chan struct{}) {
	for i := 1; ; i++ {
		select {
		case <-stop:
			v.look()
			return
		case <-time.After(25 * time.Millisecond):
		}
		if v.increment(); i%3 == 0 {
			v.look()
		}
	}
}

func (v *visitor) increment() {
	v.unknown++
	var answer struct{ Value int }
	if v.ask("POST", "/counter?delay=10", &answer) == nil {
		v.learn(answer.Value, v.count+1)
	}
}

// learn takes a count that an answer shows. It cannot be lower than what the visitor knows, nor higher than what he asked for.
func (v *visitor) learn(count, least int) {
	if most := v.count + v.unknown; count < least || count > most {
		v.diary.wrong(fmt.Errorf("%s: the count is %d, not %d to %d", v.name, count, least, most))
	}
	v.count, v.unknown = count, 0
}

func (v *visitor) look() {
	var session struct {
		User  string
		Count int
	}
	if v.ask("GET", "/get", &session) != nil {
		return
	}
	if session.User != v.name {
		v.diary.wrong(fmt.Errorf("%s is logged in as %q", v.name, session.User))
	}
	v.learn(session.Count, v.count)
}
