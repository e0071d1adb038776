// Fleet restarts, kills and floods a whole fleet of real processes under load, and prints one table: `make bench-fleet`, or
// `go run ./bench/fleet`. It needs Linux, memcached, nginx and Envoy; a front that is missing is an error, unless -without names it.
//
//   - rolling.go: every sidecar, and every app, is replaced in turn, behind each kind of front
//   - kill.go: sidecars are killed; the control plane restarts while its sidecars are late
//   - endpoint.go: from a sidecar's stream to its endpoint in Envoy
//   - simulated.go: many sidecars and many fronts at one control plane, as streams
//   - balance.go: what a front costs beside nginx, and what a request costs that is forwarded to its session's home
//
// Each request has an id, and the app notes it. So three things can be told apart: a request that failed, a change that was acknowledged
// and is gone (lost), and a request that the app executed more than once (twice).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// options say how much is measured.
type options struct {
	requests int // of each rolling restart, at least
	rounds   int // of each rolling restart, at least
	short    bool
	only     string
	without  string
}

func main() {
	var o options
	flag.IntVar(&o.requests, "requests", 100_000, "requests of each rolling restart, at least")
	flag.IntVar(&o.rounds, "rounds", 10, "rounds of each rolling restart, at least")
	flag.BoolVar(&o.short, "short", false, "few requests, rounds and streams: whether it works, and no figures to quote")
	flag.StringVar(&o.only, "only", "", "`parts` to measure, of rolling,kill,restart,endpoint,simulated,balance,forward; all by default")
	flag.StringVar(&o.without, "without", "", "`fronts` to leave out, of envoy,front,nginx,dns")
	flag.Parse()
	if o.short {
		o.requests, o.rounds = 3000, 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-fleet:", err)
		os.Exit(1)
	}
}

// run measures part by part. The table is printed whatever happened: a run of many minutes shall not be lost to its last part.
func run(ctx context.Context, o options) error {
	l, err := newLab(ctx, o)
	if err != nil {
		return err
	}
	defer l.close()
	t := &table{}
	var failed error
	for _, part := range []struct {
		name    string
		measure func(*lab, *table) error
	}{
		{"rolling", measureRolling}, {"kill", measureKill}, {"restart", measureRestart}, {"endpoint", measureEndpoint},
		{"simulated", measureSimulated}, {"balance", measureBalance}, {"forward", measureForward},
	} {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), part.name) || ctx.Err() != nil {
			continue
		}
		if err := part.measure(l, t); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", part.name, err))
		}
	}
	t.print(os.Stdout)
	return errors.Join(failed, ctx.Err())
}

// lab is where things are measured: a directory, the programs, and the processes that run.
type lab struct {
	options
	ctx       context.Context
	dir       string
	pillion   string
	key       string // file of the fleet's key
	processes []*process
}

func newLab(ctx context.Context, o options) (*lab, error) {
	dir, err := os.MkdirTemp("", "pillion-fleet-")
	if err != nil {
		return nil, err
	}
	l := &lab{options: o, ctx: ctx, dir: dir, pillion: filepath.Join(dir, "pillion"), key: filepath.Join(dir, "key")}
	progress("building pillion")
	build := exec.CommandContext(ctx, "go", "build", "-o", l.pillion, "github.com/pillion-proxy/pillion/cmd/pillion")
	if out, err := build.CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("build pillion: %w\n%s", err, out)
	}
	if out, err := exec.CommandContext(ctx, l.pillion, "config", "key", l.key).CombinedOutput(); err != nil {
		l.close()
		return nil, fmt.Errorf("make a key: %w\n%s", err, out)
	}
	return l, nil
}

// close ends everything that was started, the last first.
func (l *lab) close() {
	l.stopSince(0)
	_ = os.RemoveAll(l.dir)
}

// stopSince ends the processes that were started after the first n.
func (l *lab) stopSince(n int) {
	for i := len(l.processes) - 1; i >= n; i-- {
		l.processes[i].stop()
	}
	l.processes = l.processes[:n]
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench-fleet: "+format+"\n", args...)
}
