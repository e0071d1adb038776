// Bench measures what a sidecar costs beside what else one could use. It needs Linux, memcached, nginx and wrk, and the peers.
//
//	go run ./bench          `make bench`: the data path against its peers, memory, codec, memcached operations
//	go run ./bench msm      `make bench-msm`: what memcached-session-manager adds to a Tomcat, beside what a sidecar before it costs
//	go run ./bench check    `make bench-check`: fails when a figure leaves its budget (budget.go)
//
// Candidates stand one at a time between wrk and an app (peers.go, stage.go). CPU time of a request is user and system time of the whole
// process tree of the candidate, as the kernel accounts it, over the requests that the app answered; wrk, the app and memcached are not in
// it. Load runs in rounds, the candidates one after the other in alternating order, so that a disturbance of the machine hits all of them; a
// ratio is taken within a round, and the tables have the median of the rounds and their range.
//
// Sidecars run with everything on: a key, before_reply, two copies, metrics. That it was on is not believed but counted, in each round, by
// the app, the sidecars and memcached (candidate.go); a round in which one session was missing, or any request failed, is an error and no figure.
//
// Times are those of one machine. Ratios may be compared, with care below 15 %: that much is noise where cores are shared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options say how to measure.
type options struct {
	rounds      int
	turn        time.Duration
	connections []int
	idle        int
	without     []string
	only        *regexp.Regexp
	profiles    string // directory for CPU profiles, "" for none
	margin      float64
}

// wants tells whether a peer shall be measured.
func (o options) wants(p peer) bool {
	return !slices.Contains(o.without, p.needs) && (o.only == nil || p.name == nginxPlain || o.only.MatchString(p.name))
}

// quick makes a first look of it: figures to correct mistakes by, not to quote.
func (o *options) quick() {
	o.rounds, o.turn, o.connections, o.idle = 3, time.Second, o.connections[:1], 2000
}

func main() {
	o := options{connections: []int{64, 4}}
	flag.IntVar(&o.rounds, "rounds", 5, "how often each candidate gets its turn under load")
	flag.DurationVar(&o.turn, "turn", 2*time.Second, "how long a turn takes, whole seconds")
	flag.Func("connections", "numbers of connections, one after the other (default 64,4)", func(text string) (err error) {
		o.connections, err = numbers(text)
		return err
	})
	flag.IntVar(&o.idle, "idle", 10000, "connections that wait while memory is read")
	flag.Func("without", "`programs` to leave out: "+strings.Join(optional, ", "), func(text string) error {
		o.without = append(o.without, strings.Split(text, ",")...)
		for _, program := range o.without {
			if !slices.Contains(optional, program) {
				return fmt.Errorf("%q: only %s can be left out", program, strings.Join(optional, ", "))
			}
		}
		return nil
	})
	flag.Func("only", "`regexp` of the candidates that are measured, beside nginx, and nothing else", func(text string) (err error) {
		o.only, err = regexp.Compile(text)
		return err
	})
	flag.StringVar(&o.profiles, "profile", "", "`directory` that gets CPU profiles of Pillion's processes")
	flag.Float64Var(&o.margin, "margin", 1, "check: how often the limit of a timed figure may be measured; more than 1 where other work runs")
	quick := flag.Bool("quick", false, "3 rounds of a second with 64 connections, 2000 that wait")
	flag.Parse()
	if *quick {
		o.quick()
	}
	o.turn = max(o.turn.Round(time.Second), time.Second) // wrk knows no less
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func numbers(text string) (all []int, err error) {
	for word := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no number of connections", word)
		}
		all = append(all, n)
	}
	return all, nil
}

func run(ctx context.Context, o options, words []string) error {
	measure, programs := o.peers, []string{"memcached", "nginx", "wrk", "haproxy", "envoy", "lua"}
	switch {
	case len(words) == 0:
	case len(words) == 1 && words[0] == "check":
		measure, programs = o.check, []string{"memcached", "nginx", "wrk", "lua"}
	case len(words) == 1 && words[0] == "msm":
		measure, programs = o.msm, []string{"memcached", "wrk", "java", "javac", "mvn"}
	default:
		return fmt.Errorf("%q: bench takes nothing, msm or check, behind the flags", strings.Join(words, " "))
	}
	programs = slices.DeleteFunc(programs, func(program string) bool { return slices.Contains(o.without, program) })
	if err := installed(programs...); err != nil {
		return err
	}
	for _, line := range machine(ctx, programs) {
		fmt.Println("    " + line)
	}
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	return errors.Join(measure(l), ctx.Err())
}
