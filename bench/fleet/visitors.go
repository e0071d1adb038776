package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	workers  = 24
	slowOne  = 100 // one request of so many takes slowTime
	slowTime = 400 * time.Millisecond
)

// crowd is visitors who come without pause, each with a session of his own, and what became of their requests.
type crowd struct {
	url    string
	dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: the usual
	number atomic.Int64

	requests, lost atomic.Int64
	mu             sync.Mutex
	failures       []failure
	stop           chan struct{}
	done           sync.WaitGroup
}

// failure is a request that got no 200.
type failure struct {
	method     string
	begun, end time.Time
	why        string
}

// gather lets visitors come until the crowd is dispersed.
func gather(url string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *crowd {
	c := &crowd{url: url, dial: dial, stop: make(chan struct{})}
	for i := range workers {
		c.done.Go(func() {
			v := visitor{crowd: c, client: &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, MaxIdleConnsPerHost: 2}}}
			for n := i; ; n++ {
				select {
				case <-c.stop:
					v.client.CloseIdleConnections()
					return
				default:
				}
				v.come([]string{http.MethodGet, http.MethodPost}[n%2], n%slowOne == 0)
			}
		})
	}
	return c
}

func (c *crowd) disperse() {
	close(c.stop)
	c.done.Wait()
}

// more waits until so many more requests have been made.
func (c *crowd) more(ctx context.Context, n int64) error {
	enough := c.requests.Load() + n
	return until(ctx, "visitors come", func() error {
		if left := enough - c.requests.Load(); left > 0 {
			return fmt.Errorf("%d more are expected", left)
		}
		return nil
	})
}

// said sums up what failed: how many, and the first reasons.
func (c *crowd) said() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	why := map[string]bool{}
	for _, f := range c.failures {
		if len(why) < 3 {
			why[f.method+" "+f.why] = true
		}
	}
	var all []string
	for text := range why {
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

func (c *crowd) failed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.failures)
}

// visitor knows what his counter must be.
type visitor struct {
	*crowd
	client *http.Client
	cookie string
	count  int
	unsure bool // a POST failed, and may have been executed
}

// come makes one request and judges the answer.
func (v *visitor) come(method string, slow bool) {
	id := strconv.FormatInt(v.number.Add(1), 10)
	begun := time.Now()
	count, err := v.ask(method, id, slow)
	v.requests.Add(1)
	if err != nil {
		v.unsure = v.unsure || method == http.MethodPost
		v.mu.Lock()
		defer v.mu.Unlock()
		v.failures = append(v.failures, failure{method, begun, time.Now(), err.Error()})
		return
	}
	want := v.count
	if method == http.MethodPost {
		want++
	}
	if count != want && !(v.unsure && count == want+1) {
		v.lost.Add(1)
	}
	v.count, v.unsure = count, false
}

func (v *visitor) ask(method, id string, slow bool) (count int, err error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("a=" + strings.Repeat("b", 100))
	}
	r, err := http.NewRequest(method, v.url, body)
	if err != nil {
		return 0, err
	}
	r.Header.Set(fieldID, id)
	if slow {
		r.Header.Set(fieldDelay, strconv.FormatInt(slowTime.Milliseconds(), 10))
	}
	if v.cookie != "" {
		r.Header.Set("Cookie", v.cookie)
	}
	answer, err := v.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return 0, err
	}
	if answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s %s %s", answer.Status, answer.Header.Get("Proxy-Status"), strings.TrimSpace(string(text[:min(len(text), 150)])))
	}
	for _, set := range answer.Header.Values("Set-Cookie") {
		v.cookie, _, _ = strings.Cut(set, ";")
	}
	return strconv.Atoi(string(text))
}

// named dials as a client of a DNS name with several addresses does: one of them, and the next when it refuses.
func named(addresses ...string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (conn net.Conn, err error) {
		first := rand.IntN(len(addresses))
		for i := range addresses {
			conn, err = (&net.Dialer{}).DialContext(ctx, network, addresses[(first+i)%len(addresses)])
			if !errors.Is(err, syscall.ECONNREFUSED) {
				break
			}
		}
		return conn, err
	}
}
