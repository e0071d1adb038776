// Visitors send requests to a site while things are done to it, and tell what they noticed. Each line of standard input begins a phase
// and names it; one that begins with "lost" says that a host has just gone, with the requests it was working on.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

func main() {
	n := flag.Int("n", 8, "visitors")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: visitors [-n N] http://NAME < phases")
		os.Exit(2)
	}
	var d diary
	d.begin("first visits")
	stop := make(chan struct{})
	var all, first sync.WaitGroup
	for i := range *n {
		v := newVisitor(flag.Arg(0), fmt.Sprintf("v%d", i), &d)
		first.Add(1)
		all.Go(func() {
			v.logIn()
			first.Done()
			v.visit(stop)
		})
	}
	first.Wait()
	for phases := bufio.NewScanner(os.Stdin); phases.Scan(); {
		d.begin(phases.Text())
	}
	close(stop)
	all.Wait()
	d.print()
	if d.noticed() {
		os.Exit(1)
	}
}

// diary is what all visitors noticed, by phase.
type diary struct {
	mu     sync.Mutex
	phases []*phase
	loss   time.Time // of the last host
}

type phase struct {
	name                         string
	requests, failed, cut, wrong int
	slowest                      time.Duration
	first                        []string // failure and contradiction
}

func (d *diary) begin(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.phases = append(d.phases, &phase{name: name})
	if strings.HasPrefix(name, "lost") {
		d.loss = time.Now()
	}
}

// unnoticed is how long a sidecar goes on believing that another one is alive that answered it: what it forwards in this second after a host was
// lost went to nobody.
const unnoticed = time.Second

// note writes one request down, under the phase in which it ended. What was under way to a host when that was lost is cut: its client cannot
// know whether it was done, and waits for it in vain.
func (d *diary) note(began time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.phases[len(d.phases)-1]
	p.requests++
	p.slowest = max(p.slowest, time.Since(began))
	switch {
	case err == nil:
	case began.Before(d.loss.Add(unnoticed)):
		p.cut++
	default:
		p.fail(&p.failed, err)
	}
}

// wrong writes down an answer that contradicts what the visitor was told before: an update lost or done twice, a session gone.
func (d *diary) wrong(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.phases[len(d.phases)-1]
	p.fail(&p.wrong, err)
}

func (p *phase) fail(count *int, err error) {
	if *count++; *count == 1 {
		p.first = append(p.first, err.Error())
	}
}

// noticed tells whether anything went wrong, or a phase served nobody at all.
func (d *diary) noticed() bool {
	for _, p := range d.phases {
		if p.failed+p.wrong > 0 || p.requests == p.cut {
			return true
		}
	}
	return false
}

func (d *diary) print() {
	fmt.Printf("\n%-34s %8s %7s %5s %6s %9s\n", "", "requests", "failed", "lost", "cut", "slowest")
	for _, p := range d.phases {
		fmt.Printf("%-34s %8d %7d %5d %6d %6d ms\n", p.name, p.requests, p.failed, p.wrong, p.cut, p.slowest.Milliseconds())
		for _, text := range p.first {
			fmt.Printf("    %s\n", text)
		}
	}
}
