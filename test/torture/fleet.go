package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// plan says how a fleet differs from the usual one: two nodes, two apps with a sidecar each, which know each other as peers.
type plan struct {
	shared   bool
	flags    []string // of both sidecars
	nodeArgs []string // of memcached n1
	warm     bool     // n1 keeps its memory through a restart
	robin    bool     // the front takes turns, whatever the id says
	nginx    bool     // .. and is nginx, where that is installed
	linked   bool     // n1 is reached through a link
	walled   bool     // sidecars run with groups of their own, and a wall can part them
	spare    bool     // there is a memcached n3, in no ring
	differ   bool     // a1 has the ring n1, n2 and a2 has n2, n3
	alone    bool     // sidecars know no peers
	early    bool     // the clock of a2 is ahead
	fronted  bool     // visitors come through two pillion fronts, which a control plane feeds
}

// fleet is what a row runs against.
type fleet struct {
	nodes    []*process
	apps     []*process
	sidecars []*process
	admins   []string
	proxy    *process // nginx, nil when the clients are the front
	front    *front
	plane    *process // the control plane, nil where the row does not want it
	fronts   []*process
	link     *link // to n1, nil where the row does not want it
	wall     *wall // likewise
	shared   bool
}

func startFleet(programs *programs, dir string, p plan) (*fleet, error) {
	a, err := freeAddresses(13)
	if err != nil {
		return nil, err
	}
	f := &fleet{admins: a[6:8], shared: p.shared}
	at := func(name, address, program string, args ...string) *process {
		return &process{name: name, address: address, program: program, args: args, log: filepath.Join(dir, name+".log")}
	}
	if p.warm {
		p.nodeArgs = append(p.nodeArgs, "-e", filepath.Join(dir, "memory"))
	}
	reached := a[0]
	if p.linked {
		if f.link, err = newLink(a[0]); err != nil {
			return nil, err
		}
		reached = f.link.Addr().String()
	}
	f.nodes = []*process{at("n1", a[0], "memcached", nodeArgs(a[0], p.nodeArgs...)...), at("n2", a[1], "memcached", nodeArgs(a[1])...)}
	if p.spare || p.differ {
		f.nodes = append(f.nodes, at("n3", a[9], "memcached", nodeArgs(a[9])...))
	}
	f.front = newFront(!p.shared && !p.robin && !p.fronted)
	if p.fronted {
		f.lead(programs, at, a[10:13])
	}
	for i, route := range []string{"a1", "a2"} {
		app := at("app"+route[1:], a[2+i], programs.counter)
		app.environ = []string{"ADDR=" + app.address}
		peer := []string{"a2", "a1"}[i] + "=" + a[4+1-i]
		f.apps = append(f.apps, app)
		f.sidecars = append(f.sidecars, at(route, a[4+i], programs.pillion, append([]string{
			"sidecar", "--app=torture", "--route=" + route, "--listen=" + a[4+i], "--admin=" + a[6+i], "--upstream=http://" + app.address,
			"--session-insecure-cookie", "--keys=id=1,use=seal,file=" + programs.key, "--ring-local-nodes=none", "--log-level=warn",
			fmt.Sprintf("--sticky=%t", !p.shared),
		}, slices.Concat(f.friends(p, peer), p.ring(i, reached, a[1], a[9]), p.flags)...)...))
		if !p.fronted {
			f.front.add(route, a[4+i])
		}
	}
	if p.early {
		if f.sidecars[1].program, err = programs.early(); err != nil {
			return nil, err
		}
	}
	if p.walled {
		if f.wall, err = newWall(filepath.Base(dir)); err != nil {
			return nil, err
		}
		for i, s := range f.sidecars {
			s.group = groups[i]
		}
	}
	if p.nginx {
		f.proxy = nginx(dir, a[8], a[4:6])
	}
	if err := f.start(); err != nil {
		f.stop()
		return nil, err
	}
	if f.proxy != nil {
		f.front.through = f.proxy.address
	}
	return f, nil
}

// ring is the ring file of a sidecar.
func (p plan) ring(sidecar int, n1, n2, n3 string) []string {
	if p.differ && sidecar == 1 {
		return []string{"--ring-nodes=n2=" + n2, "--ring-nodes=n3=" + n3}
	}
	return []string{"--ring-nodes=n1=" + n1, "--ring-nodes=n2=" + n2}
}

// lead puts a control plane and two fronts before the sidecars.
func (f *fleet) lead(programs *programs, at func(name, address, program string, args ...string) *process, a []string) {
	f.plane = at("plane", a[0], programs.pillion, "control-plane", "--listen="+a[0], "--admin=127.0.0.1:0", "--hold-off=200ms")
	for i, address := range a[1:] {
		name := fmt.Sprintf("front%d", i+1)
		f.fronts = append(f.fronts, at(name, address, programs.pillion, "front", "--listen="+address, "--admin=127.0.0.1:0", "--control-plane="+a[0]))
		f.front.add(name, address)
	}
}

// friends says from where a sidecar knows the other one.
func (f *fleet) friends(p plan, peer string) []string {
	switch {
	case p.alone:
		return nil
	case f.plane != nil:
		return []string{"--control-plane=" + f.plane.address}
	}
	return []string{"--peers=" + peer}
}

func (f *fleet) sticky() bool { return !f.shared }

func nodeArgs(address string, more ...string) []string {
	_, port, _ := net.SplitHostPort(address)
	args := append([]string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-t", "2", "-m", "64"}, more...)
	if os.Getuid() == 0 {
		args = append(args, "-u", "root")
	}
	return args
}

// all lists the processes in the order in which they need each other.
func (f *fleet) all() (all []*process) {
	all = append(append(all, f.nodes...), f.apps...)
	if f.plane != nil {
		all = append(all, f.plane)
	}
	all = append(append(all, f.sidecars...), f.fronts...)
	if f.proxy != nil {
		all = append(all, f.proxy)
	}
	return all
}

// start returns when each sidecar has met the ring and its app.
func (f *fleet) start() error {
	for _, p := range f.all() {
		if err := p.start(); err != nil {
			return err
		}
	}
	for _, s := range f.sidecars {
		if !eventually(patience, func() bool { return f.isReady(s) }) {
			return fmt.Errorf("%s is not ready: %s", s.name, s.lastWords())
		}
	}
	return nil
}

func (f *fleet) isReady(s *process) bool {
	resp, err := http.Get("http://" + s.address + "/.well-known/pillion/ready")
	return err == nil && resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// stop ends every process; the first to need others goes first.
func (f *fleet) stop() {
	f.front.close()
	all := f.all()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].kill()
	}
	if f.link != nil {
		_ = f.link.Close()
	}
	if f.wall != nil {
		_ = f.wall.close() // the rules of a table that stays match ports that nobody uses
	}
}

// metric sums a counter or gauge over the sidecars. A sidecar that is down counts nothing.
func (f *fleet) metric(series string) (sum int) {
	client := http.Client{Timeout: time.Second}
	for _, admin := range f.admins {
		resp, err := client.Get("http://" + admin + "/metrics")
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
				n, _ := strconv.ParseFloat(value, 64)
				sum += int(n)
			}
		}
		resp.Body.Close()
	}
	return sum
}

// tell sends a memcached one command and returns the first line of its answer.
func tell(node *process, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", node.address, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprint(conn, command+"\r\n"); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// stat is one of a memcached's own counters.
func stat(node *process, name string) (int, error) {
	conn, err := net.DialTimeout("tcp", node.address, time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	if _, err := fmt.Fprint(conn, "stats\r\n"); err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(conn); lines.Scan() && lines.Text() != "END"; {
		if value, ok := strings.CutPrefix(lines.Text(), "STAT "+name+" "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, fmt.Errorf("memcached tells no %s", name)
}
