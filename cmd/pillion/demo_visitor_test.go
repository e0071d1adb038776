package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"
)

const attributes = 50 // of a visitor

// crowd shares the connections; every visitor has cookies of their own.
var crowd = &http.Transport{MaxIdleConnsPerHost: 1024}

// visitor counts up attributes of their own session, all at once, and remembers what was acknowledged.
type visitor struct {
	client *http.Client
	front  string
	ref    string
	counts [attributes]count

	mu       sync.Mutex
	failures map[string]int // why requests were not acknowledged
}

// count is one attribute. Its requests follow each other.
type count struct {
	acknowledged int
	unanswered   int // increments since the last acknowledged one: each may have been made
	answers      int
	wrong        []string
}

func newVisitor(t *testing.T, front string) *visitor {
	t.Helper()
	jar, _ := cookiejar.New(nil)
	v := &visitor{client: &http.Client{Transport: crowd, Jar: jar, Timeout: patience}, front: front, failures: map[string]int{}}
	v.increment(0)
	if v.ref = v.session()["ref"].(string); v.counts[0].acknowledged != 1 {
		t.Fatalf("the first answer: %+v %v", v.counts[0], v.failures)
	}
	return v
}

func (v *visitor) key() string { return "p1:demo:" + v.ref }

// get reads JSON.
func (v *visitor) get(url string) (map[string]any, error) {
	resp, err := v.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, resp.Header.Get("Proxy-Status"))
	}
	answer := map[string]any{}
	return answer, json.NewDecoder(resp.Body).Decode(&answer)
}

// session is what the front reads off the cookie.
func (v *visitor) session() map[string]any {
	answer, _ := v.get(v.front + "/.well-known/pillion/demo/session")
	return answer
}

// increment adds one to an attribute. It counts as acknowledged when the answer is 200 with the new value, which must be above all that
// was acknowledged before, and no higher than what was asked for.
func (v *visitor) increment(i int) {
	c := &v.counts[i]
	value, err := v.post(fmt.Sprintf("%s/counter?k=k%d", v.front, i))
	if err != nil {
		c.unanswered++
		v.mu.Lock()
		defer v.mu.Unlock()
		v.failures[err.Error()]++
		return
	}
	if value <= c.acknowledged || value > c.acknowledged+c.unanswered+1 {
		c.wrong = append(c.wrong, fmt.Sprintf("k%d is %d after %d and %d unanswered, at %s",
			i, value, c.acknowledged, c.unanswered, time.Now().Format("05.000")))
	}
	c.acknowledged, c.unanswered = value, 0
	c.answers++
}

func (v *visitor) post(url string) (int, error) {
	resp, err := v.client.Post(url, "", nil)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct{ Value int }
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", resp.Status, resp.Header.Get("Proxy-Status"))
	}
	return answer.Value, json.NewDecoder(resp.Body).Decode(&answer)
}

// count goes round after round until ctx ends: an increment of every attribute, all in parallel.
func (v *visitor) count(ctx context.Context) {
	pace := time.NewTicker(time.Second)
	defer pace.Stop()
	for {
		var round sync.WaitGroup
		for i := range v.counts {
			round.Go(func() { v.increment(i) })
		}
		round.Wait()
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
	}
}

// check compares a session with what was acknowledged.
func (v *visitor) check(t *testing.T, sidecar string) {
	t.Helper()
	session, err := v.get(sidecar + "/get")
	if err != nil {
		t.Errorf("read %s from %s: %v", v.ref, sidecar, err)
		return
	}
	for i, c := range v.counts {
		value, _ := session[fmt.Sprintf("k%d", i)].(float64)
		if int(value) < c.acknowledged || int(value) > c.acknowledged+c.unanswered {
			t.Errorf("%s says k%d of %s is %v, acknowledged was %d, and %d unanswered", sidecar, i, v.ref, value, c.acknowledged, c.unanswered)
		}
	}
}

// complaints are the answers that were wrong already while counting.
func (v *visitor) complaints() string {
	var all []string
	for _, c := range v.counts {
		all = append(all, c.wrong...)
	}
	return strings.Join(all, "\n")
}
