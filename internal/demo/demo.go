// Package demo runs a whole fleet on loopback, each part a process of its own, so that a newcomer can kill any of them and watch the
// session live on: two embedded memcached nodes, two counter apps, a sidecar beside each, and a front.
//
// Every part is this very executable with another command. A part that dies is started again, empty, at its old address. No part
// outlives the demo.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const restartAfter = 3 * time.Second

// Options say what fleet to run.
type Options struct {
	Executable string
	Listen     string // of the front
	Sticky     bool
	Restart    bool // start a killed part again
	Out        io.Writer
}

// fleet is the running demo.
type fleet struct {
	opts    Options
	dir     string
	spawner *spawner
	mu      sync.Mutex // orders the lines of Out
	parts   sync.WaitGroup
}

// Run starts the fleet and returns when ctx ends and all parts are gone.
func Run(ctx context.Context, opts Options) error {
	dir, err := os.MkdirTemp("", "pillion-demo-")
	if err != nil {
		return fmt.Errorf("demo: make a folder for the run: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &fleet{opts: opts, dir: dir, spawner: newSpawner()}
	defer f.spawner.close()
	defer f.parts.Wait()
	defer cancel()
	if err := f.start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// start brings the parts up in the order in which they need each other.
func (f *fleet) start(ctx context.Context) error {
	key := filepath.Join(f.dir, "key")
	secret := make([]byte, 32)
	rand.Read(secret)
	if err := os.WriteFile(key, secret, 0o600); err != nil {
		return fmt.Errorf("demo: write the key of this run: %w", err)
	}
	var nodes []string
	for _, name := range []string{"n1", "n2"} {
		address, err := f.add(ctx, "node", name, "demo-node")
		if err != nil {
			return err
		}
		nodes = append(nodes, name+"="+address)
	}
	front := []string{"demo-front", fmt.Sprintf("--sticky=%t", f.opts.Sticky)}
	for _, n := range []string{"1", "2"} {
		app, err := f.add(ctx, "app", "app"+n, "demo-app", "--name", "app"+n)
		if err != nil {
			return err
		}
		args := []string{"sidecar", "--app", "demo", "--route", "a" + n, "--upstream", "http://" + app, "--admin", "127.0.0.1:0",
			"--session-insecure-cookie", fmt.Sprintf("--sticky=%t", f.opts.Sticky), "--keys", "id=1,file=" + key + ",use=seal", "--log-level", "warn"}
		for _, node := range nodes {
			args = append(args, "--ring-nodes", node)
		}
		sidecar, err := f.add(ctx, "sidecar", "a"+n, args...)
		if err != nil {
			return err
		}
		front = append(front, "--sidecar", "a"+n+"="+sidecar)
	}
	_, err := f.add(ctx, "front", "front", front...)
	if err == nil {
		f.say("\nOpen the front's address, then kill parts: kill -9 PID. Logs: %s. Ctrl-C ends the demo.\n", f.dir)
	}
	return err
}

// add starts a part, announces it, and watches over it.
func (f *fleet) add(ctx context.Context, kind, name string, args ...string) (address string, err error) {
	listen := "127.0.0.1:0"
	if kind == "front" {
		listen = f.opts.Listen
	}
	p := &part{kind: kind, name: name, args: args, listen: listen, executable: f.opts.Executable, log: filepath.Join(f.dir, name+".log")}
	if err := f.launch(ctx, p); err != nil {
		return "", err
	}
	f.parts.Go(func() { f.watch(ctx, p) })
	return p.listen, nil
}

func (f *fleet) launch(ctx context.Context, p *part) error {
	if err := p.start(ctx, f.spawner); err != nil {
		return fmt.Errorf("demo: %s %s did not start: %w", p.kind, p.name, err)
	}
	address := p.listen
	if p.kind == "front" {
		address = "http://" + address + "/"
	}
	f.say("%-8s %-6s %s  pid=%d\n", p.kind, p.name, address, p.pid())
	return nil
}

// watch starts the part again when it dies, until ctx ends; then it ends the part.
func (f *fleet) watch(ctx context.Context, p *part) {
	for {
		select {
		case <-ctx.Done():
			p.stop()
			return
		case <-p.exited:
		}
		f.say("%-8s %-6s died%s\n", p.kind, p.name, map[bool]string{true: "; it comes back empty in 3 s"}[f.opts.Restart])
		if !f.opts.Restart {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(restartAfter):
			}
			err := f.launch(ctx, p)
			if err == nil || ctx.Err() != nil {
				break
			}
			f.say("%v; trying again\n", err)
		}
	}
}

func (f *fleet) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.opts.Out, format, args...)
}
