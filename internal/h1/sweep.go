package h1

import (
	"time"

	"github.com/pillion-proxy/pillion/internal/head"
)

const (
	// slowestTick is how often the sweeper looks at least while there is anything to look at: a timeout is late by one at most.
	slowestTick = 100 * time.Millisecond
	fastestTick = 5 * time.Millisecond
	// parkAfter is how long a connection that waits for its next request keeps its goroutine, whose stack has grown.
	parkAfter = 300 * time.Millisecond
	// longestRest is how long the sweeper sleeps at most.
	longestRest = 10 * time.Second
	// pause is how late the sweeper may be before that means that the whole process stood still.
	pause = 500 * time.Millisecond
	// aftermath is how long what has piled up in that time may take.
	aftermath = 2 * time.Second
)

// begun is where now counts from.
var begun = time.Now()

// now is a moment on a clock that only goes forward.
func now() int64 { return int64(time.Since(begun)) }

// wake makes the sweeper look, should it sleep.
func (e *Engine) wake() {
	select {
	case e.woken <- struct{}{}:
	default:
	}
}

// sweep ends what takes too long. It looks at every connection each tick, and sleeps while all there is cannot time out soon.
func (e *Engine) sweep() {
	timer := time.NewTimer(longestRest)
	defer timer.Stop()
	for {
		tick := e.tick()
		if at := now(); at > e.due.Load()+int64(pause) {
			e.doubt.Store(at + int64(aftermath))
		}
		rest := e.look(now(), tick)
		if e.pool.expire(e.ticks.Add(1) - int64(head.UpstreamIdle/tick)) {
			rest = tick
		}
		e.due.Store(now() + int64(rest))
		timer.Reset(rest)
		woken := e.woken
		if rest <= tick {
			woken = nil // it looks soon anyway, and clients that come all the time must not put that off
		}
		select {
		case <-e.stopped:
			return
		case <-timer.C:
			continue
		case <-woken:
		}
		timer.Reset(tick)
		select {
		case <-e.stopped:
			return
		case <-timer.C:
		}
	}
}

// tick is short where limits are.
func (e *Engine) tick() time.Duration {
	tick := slowestTick
	limits := e.limits.Load()
	for _, limit := range [...]time.Duration{limits.Idle, limits.HeaderTimeout, e.options.UpstreamTimeout} {
		if limit > 0 {
			tick = min(tick, limit/8)
		}
	}
	return max(tick, fastestTick)
}

// look looks at every connection once, and tells how long nothing can happen.
func (e *Engine) look(at int64, tick time.Duration) (rest time.Duration) {
	limits := e.limits.Load()
	rest = longestRest
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		rest = min(rest, c.sweep(at, tick, limits))
	}
	return rest
}

// sweep looks at a connection.
func (c *conn) sweep(at int64, tick time.Duration, limits *head.Limits) (rest time.Duration) {
	if until := c.until.Load(); until != 0 && at > until {
		c.outOfTime(until)
	}
	if c.bodyStep.phase() != resting {
		c.judgeStep(&c.bodyStep, at, limits)
	}
	word := c.step.word.Load()
	switch age := c.judgeStep(&c.step, at, limits); phaseOf(word) {
	case tunnel:
		return longestRest
	case parked:
		if limits.Idle <= 0 {
			return longestRest
		}
		return max(tick, limits.Idle-age)
	case idle:
		if age >= parkAfter {
			c.interfere(word, parking)
		}
	case handling, asking, taking:
		if age >= watchAfter && phase(word)&watched == 0 && !c.uploading.Load() {
			c.interfere(word, watched)
		}
	}
	return tick
}

// judgeStep tells how long a step has lasted, and ends it when that is too long.
func (c *conn) judgeStep(s *step, at int64, limits *head.Limits) (age time.Duration) {
	word := s.word.Load()
	p := phaseOf(word)
	if word&^uint64(marks) != s.seen || p == asking && c.uploading.Load() { // the app's time begins when it has the request
		s.seen, s.since = word&^uint64(marks), at
		return 0
	}
	age = time.Duration(at - s.since)
	var limit time.Duration
	switch p {
	case fresh, reading:
		limit = limits.HeaderTimeout
	case idle, parked, giving, bringing:
		limit = limits.Idle
	case asking, passing:
		limit = c.engine.options.UpstreamTimeout
	}
	if limit > 0 && age >= limit && phase(word)&marks&^watched == 0 {
		c.expire(s, word)
	}
	return age
}

// expire interrupts what a step waits for. The connection it waits on is not used again.
func (c *conn) expire(s *step, word uint64) {
	c.engine.sweeper.Lock()
	defer c.engine.sweeper.Unlock()
	if !s.mark(word, expired) {
		return
	}
	switch phaseOf(word) {
	case fresh, reading, idle, parked, bringing:
		_ = c.nc.SetReadDeadline(pastDeadline)
	case giving:
		_ = c.nc.SetWriteDeadline(pastDeadline)
	case asking, passing:
		if up := c.app.Load(); up != nil {
			up.interrupt()
		}
	}
}

// interfere puts a mark on the connection's step and does what it stands for.
func (c *conn) interfere(word uint64, m phase) {
	c.engine.sweeper.Lock()
	defer c.engine.sweeper.Unlock()
	if m == watched && c.watch != nil || !c.step.mark(word, m) {
		return
	}
	if m == watched {
		c.startWatch()
	} else {
		_ = c.nc.SetReadDeadline(pastDeadline)
	}
}

// lose gives the app's answer up, unless it is here: head.Exchange.Lose.
func (c *conn) lose() {
	c.engine.sweeper.Lock()
	defer c.engine.sweeper.Unlock()
	word := c.step.word.Load()
	if up := c.app.Load(); up != nil && phaseOf(word) == asking && c.step.mark(word, lost) {
		up.interrupt()
	}
}

// outOfTime ends an exchange whose head.To.Timeout is over.
func (c *conn) outOfTime(until int64) {
	c.engine.sweeper.Lock()
	defer c.engine.sweeper.Unlock()
	if c.until.CompareAndSwap(until, 0) {
		c.x.abort(errTimedOut)
	}
}

// stoodStill tells whether the process has lately been stopped for a while, or got no processor: what it reads now may be old.
func (e *Engine) stoodStill() bool {
	at := now()
	return at > e.due.Load()+int64(pause) || at < e.doubt.Load()
}
