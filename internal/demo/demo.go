// Package demo runs a whole fleet on loopback, each part a process of its own, so that a newcomer can kill any of them and watch the
// session live on: two embedded memcached nodes, two counter apps, a sidecar beside each, a control plane, and a front that follows it.
//
// Every part is this very executable with another command, but for a front that is an Envoy. It is announced by one line, `KIND NAME ADDRESS pid=PID`. A part that dies
// is started again, empty, at its old address, and announced again. No part outlives the demo.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	restartAfter = 3 * time.Second
	// holdOff is shorter than is wise where machines start: here the sidecars come within a second.
	holdOff = "1500ms"
)

// Options say what fleet to run.
type Options struct {
	Executable string
	Environ    []string // of the parts; PILLION_* are settings of another sidecar and are left out
	Listen     string   // of the front
	Envoy      bool     // is the front, and not pillion front
	Sticky     bool
	Restart    bool // start a killed part again
	Out        io.Writer
}

// fleet is the running demo.
type fleet struct {
	opts     Options
	dir      string
	envoy    string // its program, "" for a front of ours
	spawner  *spawner
	parts    []*part // in the order they were started
	watchers sync.WaitGroup
	mu       sync.Mutex // orders the lines of Out
}

// Run starts the fleet and returns when ctx ended and all parts are gone.
func Run(ctx context.Context, opts Options) error {
	dir, err := os.MkdirTemp("", "pillion-demo-")
	if err != nil {
		return fmt.Errorf("demo: make a folder for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	opts.Environ = slices.DeleteFunc(slices.Clone(opts.Environ), func(variable string) bool { return strings.HasPrefix(variable, "PILLION_") })
	f := &fleet{opts: opts, dir: dir, spawner: newSpawner()}
	if f.envoy, err = findEnvoy(opts.Envoy); err != nil {
		return err
	}
	defer f.spawner.close()
	ctx, cancel := context.WithCancel(ctx)
	defer f.stop()
	defer cancel()
	if err := f.start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// start brings the parts up in the order in which they need each other, and watches over them.
func (f *fleet) start(ctx context.Context) error {
	parts, where, err := f.plan()
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := f.launch(ctx, p); err != nil {
			return err
		}
		f.parts = append(f.parts, p)
		f.watchers.Go(func() { f.watch(ctx, p) })
	}
	f.say("\nOpen the front and count. Kill any part with kill -9 PID and go on counting. Ctrl-C ends the demo.\n%s Logs: %s\n", where, f.dir)
	return nil
}

// plan lists the parts, and says where to look at them. Only the front's address may be the user's.
func (f *fleet) plan() (parts []*part, where string, err error) {
	key := filepath.Join(f.dir, "key")
	secret := make([]byte, 32)
	rand.Read(secret)
	if err := os.WriteFile(key, secret, 0o600); err != nil {
		return nil, "", fmt.Errorf("demo: write the key of this run: %w", err)
	}
	free, err := freePorts(11)
	if err != nil {
		return nil, "", err
	}
	n1, n2, app1, app2, a1, a2, admin1, admin2, plane, planeAdmin := free[0], free[1], free[2], free[3], free[4], free[5], free[6], free[7], free[8], free[9]
	front, err := f.front(free[10], plane)
	if err != nil {
		return nil, "", err
	}
	sidecar := []string{
		"sidecar", fmt.Sprintf("--sticky=%t", f.opts.Sticky), "--app=" + space, "--session-insecure-cookie", "--keys=id=1,use=seal,file=" + key,
		"--ring-nodes=n1=" + n1, "--ring-nodes=n2=" + n2, "--control-plane=" + plane,
		"--ring-op-timeout=1s", "--commit-timeout=5s", // nodes, apps and visitors share these processors: a busy one is not dead
		"--drain-linger=0s", // the front ends before the sidecars: nobody is left to see a drain
		"--log-level=warn",
	}
	add := func(kind, name, listen string, command ...string) {
		parts = append(parts, f.part(&part{kind: kind, name: name, listen: listen, command: command}))
	}
	add("node", "n1", n1, "demo-node")
	add("node", "n2", n2, "demo-node")
	add("app", "app1", app1, "demo-app", "--name=app1")
	add("app", "app2", app2, "demo-app", "--name=app2")
	add("control-plane", "plane", plane, append([]string{"control-plane", "--hold-off=" + holdOff, "--admin=" + planeAdmin}, front.services...)...)
	add("sidecar", "a1", a1, append(slices.Clone(sidecar), "--route=a1", "--upstream=http://"+app1, "--admin="+admin1)...)
	add("sidecar", "a2", a2, append(slices.Clone(sidecar), "--route=a2", "--upstream=http://"+app2, "--admin="+admin2)...)
	where = fmt.Sprintf("Fleet: http://%s/registry, http://%s/fronts.\nMetrics: http://%s/metrics (a1), http://%s/metrics (a2).", planeAdmin, planeAdmin, admin1, admin2)
	return append(parts, front.part), where, nil
}

// part completes p with what all parts have in common.
func (f *fleet) part(p *part) *part {
	if p.executable == "" {
		p.executable = f.opts.Executable
	}
	p.environ, p.log = f.opts.Environ, filepath.Join(f.dir, p.name+".log")
	return p
}

func (f *fleet) launch(ctx context.Context, p *part) error {
	if err := p.start(ctx, f.spawner); err != nil {
		return fmt.Errorf("demo: %s did not start: %w", p.name, err)
	}
	address := p.listen
	if p.kind == "front" {
		address = "http://" + address + "/"
	}
	f.say("%-13s %-6s %s  pid=%d\n", p.kind, p.name, address, p.pid())
	return nil
}

// watch starts the part again when it dies, until ctx ends.
func (f *fleet) watch(ctx context.Context, p *part) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.exited:
		}
		if ctx.Err() != nil {
			return
		}
		if !f.opts.Restart {
			f.say("%s died\n", p.name)
			return
		}
		f.say("%s died; it comes back empty in 3 s\n", p.name)
		for restarted := false; !restarted; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartAfter):
			}
			err := f.launch(ctx, p)
			if restarted = err == nil; !restarted && ctx.Err() == nil {
				f.say("%v; trying again\n", err)
			}
		}
	}
}

// stop ends the parts in the reverse of the order they need each other: a sidecar still brings to the nodes what it owes them.
func (f *fleet) stop() {
	f.watchers.Wait()
	for _, p := range slices.Backward(f.parts) {
		p.stop()
	}
}

func (f *fleet) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.opts.Out, format, args...)
}
