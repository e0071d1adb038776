package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

const connections = 64

// proxy is a candidate under load: what stands between wrk and the app.
type proxy struct {
	name    string
	process *process
	address string
	app     *app
	path    string
	cookies string // file with one in each line
	admin   string // of a sidecar: it finds sessions and hands them to the app; "" for nginx
}

//go:embed nginx.conf
var nginxConf string

// startNginx starts the yardstick before an app of its own.
func (l *lab) startNginx() (*proxy, error) {
	a, err := newApp()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(l.dir, "nginx.conf")
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if err := template.Must(template.New("").Parse(nginxConf)).Execute(file, struct{ Dir, App, Listen string }{l.dir, a.address(), address}); err != nil {
		return nil, err
	}
	p, err := l.start("nginx", "-c", path, "-p", l.dir, "-e", filepath.Join(l.dir, "nginx.log"))
	if err != nil {
		return nil, err
	}
	return &proxy{name: "nginx", process: p, address: address, app: a, path: readPath}, p.listens(address)
}

//go:embed wrk.lua
var wrkScript []byte

// turn is what one run of wrk against a proxy gave.
type turn struct {
	cpu      float64 // microseconds a request
	rate     float64 // requests a second
	p50, p99 float64 // microseconds
	saw      seen    // by the app
}

// drive puts load on the proxy and checks that every request was answered, with its session where there shall be one.
func (l *lab) drive(p *proxy, d time.Duration) (turn, error) {
	before, err := p.reading()
	if err != nil {
		return turn{}, err
	}
	done, err := l.wrk(p, d)
	if err != nil {
		return turn{}, err
	}
	after, err := p.reading()
	if err != nil {
		return turn{}, err
	}
	saw := after.app.since(before.app)
	switch {
	case done.failed > 0 || saw.requests < done.requests:
		return turn{}, fmt.Errorf("%s: of %d requests %d failed, and the app saw %d:\n%s",
			p.name, done.requests, done.failed, saw.requests, p.process.lastWords())
	case p.admin != "" && (saw.sessions < saw.requests || after.sessions-before.sessions < saw.requests):
		return turn{}, fmt.Errorf("%s: of %d requests the app saw %d with their session, and the sidecar counted %d",
			p.name, saw.requests, saw.sessions, after.sessions-before.sessions)
	}
	return turn{
		cpu:  float64((after.cpu - before.cpu).Microseconds()) / float64(saw.requests),
		rate: float64(done.requests) / (float64(done.micros) / 1e6),
		p50:  float64(done.p50), p99: float64(done.p99), saw: saw,
	}, nil
}

// reading is what the counters around a proxy say at a moment.
type reading struct {
	cpu      time.Duration
	app      seen
	sessions int64 // requests to which the sidecar gave a session
}

func (p *proxy) reading() (r reading, err error) {
	if r.cpu, err = p.process.cpu(); err != nil {
		return r, err
	}
	r.app = p.app.seen()
	if p.admin != "" {
		r.sessions, err = sessionsServed(p.admin)
	}
	return r, err
}

// report is the last line of wrk.lua.
type report struct{ requests, micros, p50, p99, failed int64 }

func (l *lab) wrk(p *proxy, d time.Duration) (report, error) {
	script := filepath.Join(l.dir, "wrk.lua")
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return report{}, err
	}
	out, err := exec.CommandContext(l.ctx, "wrk", "-t1", fmt.Sprintf("-c%d", connections), fmt.Sprintf("-d%.0fs", d.Seconds()),
		"-s", script, "http://"+p.address, "--", p.path, p.cookies).CombinedOutput()
	if err != nil {
		return report{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	_, line, _ := strings.Cut(string(out), "\ndone ")
	var r report
	if _, err := fmt.Sscan(line, &r.requests, &r.micros, &r.p50, &r.p99, &r.failed); err != nil {
		return report{}, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	return r, nil
}
