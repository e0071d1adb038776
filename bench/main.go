// Bench measures what a sidecar costs and prints one table: `make bench`, or `go run ./bench`. It needs Linux, memcached, nginx and wrk.
//
// Three things are measured, each against something that a reader knows:
//
//   - the codec, in this process, against encoding/json with the same session (codec.go)
//   - memcached operations of a request, counted at real memcached servers by their own statistics (operations.go)
//   - CPU time of a request: user and system time of the whole process tree, as the kernel accounts it, divided by the requests that
//     the app answered. nginx, as a plain proxy without sessions, is 1.00 (load.go)
//
// Sidecars run with everything on: a key, before_reply, two copies, metrics. Load runs in rounds, the candidates one after the other in
// alternating order, so that a disturbance of the machine hits all of them; a ratio is taken within a round, and the table has the
// median of the rounds and their range. The app tells how many requests carried a session, and a round in which one is missing, or in
// which any request failed, is an error and no figure.
//
// Times are those of one machine. Ratios may be compared, with care below 15 %: that much is noise where cores are shared.
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
	"strings"
	"syscall"
	"time"
)

func main() {
	var o load
	flag.IntVar(&o.rounds, "rounds", 5, "how often each candidate gets its turn under load")
	flag.DurationVar(&o.each, "turn", 3*time.Second, "how long a turn takes, whole seconds")
	flag.StringVar(&o.profiles, "profile", "", "`directory` that gets CPU profiles of the sidecars")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run makes every measurement and prints the table at last, or nothing of it.
func run(ctx context.Context, o load) error {
	if err := installed("memcached", "nginx", "wrk"); err != nil {
		return err
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	var t table
	t.about = machine(ctx)
	for _, part := range []func(*lab, *table) error{measureCodec, measureOperations, o.measure} {
		if err := part(l, &t); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	return t.print(os.Stdout)
}

// installed tells what to install when a program is missing. Debian keeps servers where not every user looks.
func installed(programs ...string) error {
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin"); err != nil {
		return err
	}
	var missing []string
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s not found: on Debian and Ubuntu, sudo apt-get install %[1]s", strings.Join(missing, " "))
}

// lab is where things are measured: a directory, the program, and the processes that run.
type lab struct {
	ctx       context.Context
	dir       string
	pillion   string
	key       string // file of the key that seals
	processes []*process
}

func newLab(ctx context.Context) (*lab, error) {
	dir, err := os.MkdirTemp("", "pillion-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, dir: dir, pillion: filepath.Join(dir, "pillion"), key: filepath.Join(dir, "key")}
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
	for i := len(l.processes) - 1; i >= 0; i-- {
		l.processes[i].stop()
	}
	os.RemoveAll(l.dir)
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
