package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// resting is how long connections are left alone before the memory behind them is read.
const resting = 3 * time.Second

// idle opens connections to a candidate, has one request served on each, and reads what its processes hold then. No load came before: what a
// server keeps of that for later would hide what the connections take.
func (l *lab) idle(c *candidate, connections int) (m idleMemory, err error) {
	m.connections, m.inUse = connections, -1
	visitor.CloseIdleConnections() // a front takes 10000, and these make that number
	if m.before, err = c.process.memory(); err != nil {
		return m, err
	}
	pillion, used := c.pillion(), 0.0
	if pillion != nil {
		if used, err = pillion.inUse(); err != nil {
			return m, err
		}
	}
	cookies, err := os.ReadFile(c.cookies)
	if err != nil {
		return m, err
	}
	open, err := openIdle(c.url, strings.Fields(string(cookies)), connections)
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	if err != nil {
		return m, fmt.Errorf("%s: %w", c.name, err)
	}
	select {
	case <-time.After(resting):
	case <-l.ctx.Done():
		return m, l.ctx.Err()
	}
	if m.after, err = c.process.memory(); err != nil {
		return m, err
	}
	if pillion != nil {
		if m.inUse, err = pillion.inUse(); err != nil {
			return m, err
		}
		m.inUse -= used
	}
	return m, answersAll(open[:min(len(open), 16)], c.url, strings.Fields(string(cookies)))
}

// openIdle opens connections, some at a time. One address has too few ports for many rounds of this, so they come from eight.
func openIdle(target string, cookies []string, n int) ([]net.Conn, error) {
	const atOnce = 16
	var (
		mu       sync.Mutex
		open     []net.Conn
		failures []error
		openers  sync.WaitGroup
	)
	for first := range atOnce {
		openers.Go(func() {
			for i := first; i < n; i += atOnce {
				c, err := openOne(target, cookies[i%len(cookies)], net.IPv4(127, 0, 0, byte(2+i%8)))
				mu.Lock()
				if c != nil {
					open = append(open, c)
				}
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	openers.Wait()
	return open, errors.Join(failures...)
}

// openOne opens a connection and uses it once.
func openOne(target, cookie string, source net.IP) (net.Conn, error) {
	u, err := url.Parse(target)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: source}, Timeout: patience}
	c, err := dialer.Dial("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a certificate of the lab's own
	}
	return c, ask(c, u, cookie)
}

// ask has one request answered and leaves the connection open.
func ask(c net.Conn, u *url.URL, cookie string) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\n\r\n", u.Path, u.Host, cookie); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Close {
		return fmt.Errorf("an idle connection's request: %s, closing %v", resp.Status, resp.Close)
	}
	return nil
}

// answersAll proves that connections which rested are alive.
func answersAll(open []net.Conn, target string, cookies []string) error {
	u, err := url.Parse(target)
	for i, c := range open {
		if err == nil {
			err = ask(c, u, cookies[i%len(cookies)])
		}
	}
	return err
}
