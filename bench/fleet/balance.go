package main

import (
	"fmt"
	"net/http"
	"time"
)

// measureBalance compares the CPU time of `pillion front` with that of nginx as a balancer of the same sidecars, in alternating turns.
func measureBalance(l *lab, t *table) error {
	s, err := l.startSite(false, "--trusted-proxies=127.0.0.1")
	if err != nil {
		return err
	}
	defer s.end()
	ours, err := startFront(s)
	if err != nil {
		return err
	}
	nginx, err := s.startNginx(`""`, "keepalive 64;")
	if err != nil {
		return err
	}
	turns, each := 5, 4*time.Second
	if l.short {
		turns, each = 1, time.Second
	}
	var ratios, mine, theirs []time.Duration // ratios in thousandths
	for i := range 2 * turns {
		f := []front{ours, nginx}[(i+i/2)%2] // nobody always goes first
		used, err := s.turn(f, each)
		if err != nil {
			return err
		}
		if f.process == ours.process {
			mine = append(mine, used)
		} else {
			theirs = append(theirs, used)
		}
		if len(mine) == len(theirs) {
			ratios = append(ratios, 1000*mine[len(mine)-1]/theirs[len(theirs)-1])
		}
	}
	t.add("CPU of a request, `pillion front` / nginx", fmt.Sprintf("%.2f", float64(quantile(ratios, 0.5))/1000), "4.5, on h1 0.85",
		fmt.Sprintf("%.2f to %.2f; %v and %v", float64(quantile(ratios, 0))/1000, float64(quantile(ratios, 1))/1000, quantile(mine, 0.5), quantile(theirs, 0.5)))
	return nil
}

// turn is the CPU time of a front for a request, under load for a while.
func (s *site) turn(f front, each time.Duration) (time.Duration, error) {
	before, err := f.process.cpu()
	if err != nil {
		return 0, err
	}
	c := gather(f.url, f.dial)
	select {
	case <-time.After(each):
	case <-s.ctx.Done():
	}
	c.disperse()
	after, err := f.process.cpu()
	if err == nil && c.failed() > 0 {
		err = fmt.Errorf("%d requests failed: %s", c.failed(), c.said())
	}
	return (after - before) / time.Duration(max(1, c.requests.Load())), err
}

// measureForward compares a request that comes to its session's home with one that comes to the other sidecar, in turns, one at a time.
func measureForward(l *lab, t *table) error {
	s, err := l.startSite(false)
	if err != nil {
		return err
	}
	defer s.end()
	n := 3000
	if l.short {
		n = 200
	}
	c := &crowd{url: "http://" + s.members[0].address + "/"}
	v := visitor{crowd: c, client: &http.Client{Timeout: patience}}
	v.come("POST", false)
	var home, foreign []time.Duration
	for i := range n {
		c.url = "http://" + s.members[i%2].address + "/"
		start := time.Now()
		v.come("GET", false)
		if i%2 == 0 {
			home = append(home, time.Since(start))
		} else {
			foreign = append(foreign, time.Since(start))
		}
	}
	if c.failed() > 0 || c.lost.Load() > 0 {
		return fmt.Errorf("%d failed, %d lost: %s", c.failed(), c.lost.Load(), c.said())
	}
	a, b := quantile(home, 0.5), quantile(foreign, 0.5)
	t.add("foreign session, forwarded to its home: added p50", ms(b-a), "0.5 ms", fmt.Sprintf("at home %s, elsewhere %s, %d requests", ms(a), ms(b), n))
	return nil
}
