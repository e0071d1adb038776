// Torture breaks a fleet of real processes under load and counts what its visitors lost: `make torture`, or `go run ./test/torture`. It
// needs memcached; nginx is used where it is installed.
//
// The fleet is two memcached nodes, two counter apps and a sidecar before each, all on loopback, started anew for each row. Visitors keep
// a cookie and a ledger of every value that an answer acknowledged. Then a row does its harm. At the end each session is read back through
// every sidecar, one request at a time, and compared with the ledger.
//
// # The table
//
//	requests     of the visitors, without the reading back
//	failed       connection errors and answers other than 200 and 503
//	lost         acknowledged changes that cannot be read at the end, or that a later answer had not seen
//	went back    answers older than what the same visitor had been told before
//	resurrected  logouts that were acknowledged, and the session was readable again
//	changed ids  answers that changed a visitor's cookie; new: to that of another session
//	503          answers by which Pillion said that it can promise nothing; below the table by their error
//	p50 .. slowest   milliseconds, as the visitor waits, on a machine that runs all of it at once
//	lost with msm    what Tomcat with memcached-session-manager 2.3.2 lost in the same test, - where it was not tried
//
// Above the table stand versions, machine and seed. Below it stand figures of single rows, and problems: what should never be. The exit
// status is 1 when a row broke its promise.
//
// # One row again
//
//	go run ./test/torture -run node-killed/shared -seed 7 -logs /tmp/torture
//	go run ./test/torture -seed 7 -times 3            the whole table three times
//
// The seed gives the visitors' pace and which fault comes when; processes are not simulated, so a seed repeats the plan and not the
// interleaving. A row is a function over a trial (rows.go lists them): it starts load, does its harm to t.nodes, t.sidecars or t.fronts, and
// audits. `go test ./test/torture` runs a short form of every row.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"
)

func main() {
	pattern := flag.String("run", "", "only rows whose name/mode matches this `regexp`")
	seed := flag.Uint64("seed", uint64(time.Now().Unix()), "of the plan")
	times := flag.Int("times", 1, "make the table `n` times, with this seed and those after it")
	short := flag.Bool("short", false, "fewer visitors, shorter faults")
	logs := flag.String("logs", "", "keep the processes' logs in this `directory`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *pattern, *seed, *times, *short, *logs)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, pattern string, seed uint64, times int, short bool, logs string) error {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	if err := installed(); err != nil {
		return err
	}
	if logs == "" {
		if logs, err = os.MkdirTemp("", "pillion-torture-"); err != nil {
			return err
		}
		defer os.RemoveAll(logs)
	} else if err := os.MkdirAll(logs, 0o700); err != nil {
		return err
	}
	programs, err := build(logs)
	if err != nil {
		return err
	}
	fmt.Println(machine())
	var broken error
	for ; times > 0 && ctx.Err() == nil; times-- {
		broken = errors.Join(broken, once(ctx, programs, wanted, seed, short))
		seed++
	}
	return errors.Join(broken, ctx.Err())
}

// once makes the table for one seed.
func once(ctx context.Context, programs *programs, wanted *regexp.Regexp, seed uint64, short bool) error {
	fmt.Printf("\nseed %d\n\n", seed)
	var t table
	var broken error
	for _, r := range rows {
		for _, v := range r.variants {
			if !wanted.MatchString(r.name + "/" + v.mode) {
				continue
			}
			if why := r.plan.possible(); why != "" {
				fmt.Fprintf(os.Stderr, "torture: %s/%s is left out: %s\n", r.name, v.mode, why)
				continue
			}
			fmt.Fprintf(os.Stderr, "torture: %s/%s\n", r.name, v.mode)
			res, err := r.run(ctx, programs, v, seed, short)
			if ctx.Err() != nil {
				return t.print(os.Stdout)
			}
			if err == nil {
				err = r.kept(res)
			}
			if err != nil {
				broken = errors.Join(broken, fmt.Errorf("seed %d, %s/%s: %w", seed, r.name, v.mode, err))
			}
			t.add(r, v, res)
		}
	}
	err := t.print(os.Stdout)
	fmt.Printf("\nload average at the end %s\n", load())
	return errors.Join(err, broken)
}
