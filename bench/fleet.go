package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// node is a real memcached.
type node struct {
	*process
	address string
}

func (l *lab) startNode() (*node, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "64", "-t", "2"}
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	p, err := l.start("memcached", args...)
	if err != nil {
		return nil, err
	}
	return &node{p, address}, p.listens(address)
}

// stats are the counters of a node.
func (n *node) stats() (map[string]int64, error) {
	c, err := net.Dial("tcp", n.address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprint(c, "stats\r\n"); err != nil {
		return nil, err
	}
	stats := map[string]int64{}
	lines := bufio.NewScanner(c)
	for lines.Scan() && lines.Text() != "END" {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 {
			stats[fields[1]], _ = strconv.ParseInt(fields[2], 10, 64) // some are no whole numbers, and not asked for
		}
	}
	return stats, lines.Err()
}

// fleet is an app, a sidecar before it and two nodes.
type fleet struct {
	app     *app
	sidecar *process
	nodes   []*node
	address string // of the sidecar
	admin   string
}

// startFleet starts a sidecar with everything on and some settings more.
func (l *lab) startFleet(settings ...string) (*fleet, error) {
	f := &fleet{}
	var err error
	if f.app, err = newApp(); err != nil {
		return nil, err
	}
	args := []string{
		"sidecar", "--app=bench", "--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--upstream=http://" + f.app.address(),
		"--session-insecure-cookie", "--keys=id=1,use=seal,file=" + l.key, "--ring-local-nodes=none", "--log-level=warn",
	}
	for _, name := range []string{"n1", "n2"} {
		n, err := l.startNode()
		if err != nil {
			return nil, err
		}
		f.nodes = append(f.nodes, n)
		args = append(args, "--ring-nodes="+name+"="+n.address)
	}
	if f.sidecar, err = l.start(l.pillion, append(args, settings...)...); err != nil {
		return nil, err
	}
	return f, f.announced()
}

// announced waits for the addresses that the sidecar prints.
func (f *fleet) announced() error {
	if err := f.sidecar.stdout.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for lines := bufio.NewScanner(f.sidecar.stdout); lines.Scan(); {
		if address, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			f.address = address
		}
		if address, ok := strings.CutPrefix(lines.Text(), "admin on "); ok {
			f.admin = address
			return nil
		}
	}
	return fmt.Errorf("pillion sidecar did not start:\n%s", f.sidecar.lastWords())
}

func (f *fleet) stop() {
	f.sidecar.stop()
	for _, n := range f.nodes {
		n.stop()
	}
	f.app.listener.Close()
}

// newSessions lets n visitors come for the first time, and returns the cookies they got.
func (f *fleet) newSessions(n int) ([]string, error) {
	cookies := make([]string, 0, n)
	for range n {
		cookie, err := f.visit(fillPath, "")
		if err != nil {
			return nil, err
		}
		if cookie == "" {
			return nil, errors.New("the sidecar gave no cookie to a new session")
		}
		cookies = append(cookies, cookie)
	}
	return cookies, nil
}

// visit makes one request, and returns the cookie that its answer sets.
func (f *fleet) visit(path, cookie string) (string, error) {
	req, err := http.NewRequest("GET", "http://"+f.address+path, nil)
	if err != nil {
		return "", err
	}
	if cookie != "" {
		req.Header.Set("Cookie", cookie)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("GET %s: %s: %s", path, resp.Status, resp.Header.Get("Proxy-Status"))
	}
	set, _, _ := strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	return set, nil
}

// sessionsServed is the sidecar's own count of requests with a session.
func sessionsServed(admin string) (int64, error) {
	resp, err := http.Get("http://" + admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if count, ok := strings.CutPrefix(lines.Text(), `pillion_requests_total{kind="session"} `); ok {
			n, err := strconv.ParseFloat(count, 64)
			return int64(n), err
		}
	}
	return 0, errors.New("the sidecar's metrics do not count requests with a session")
}
