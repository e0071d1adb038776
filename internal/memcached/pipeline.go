package memcached

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Most of what a small operation costs, here and on the node, is its system calls and wake-ups. So all of a node's small operations share one
// connection: what several requests ask goes out in one write, and what is answered comes in one read. Nobody waits for company: who finds
// the writer at rest wakes it, and it writes as soon as those who are running already have said what they want (docs/decisions/0018).
const (
	// largeValue is the longest value that is written to a pipeline; while a longer one is read, others take another connection.
	largeValue = 32 << 10
	// readAhead is how much of the answers is read at once.
	readAhead = 64 << 10
	// keepOut is how much memory for commands is kept when they are written.
	keepOut = 128 << 10
)

// errCut: the connection ended for another one's sake.
var errCut = errors.New("memcached: the connection was given up for the answer to another command")

// pipeline is a connection on which many calls are under way at once. The answers come in the order of the commands.
//
// One that was late for a call takes no more: who has nothing to do with it takes a new connection, and who is under way on it waits as long
// as for a connection of his own. It ends with the last of those.
type pipeline struct {
	conn    net.Conn
	timeout time.Duration
	open    atomic.Bool // takes calls
	large   atomic.Bool // a large value is being read

	mu      sync.Mutex
	out     []byte     // commands that are not written
	under   []underway // in the order of the commands, from head on
	head    int
	written int  // how many of under have been, or are being written
	resting bool // the writer is
	ended   bool
	wake    chan struct{}
	timer   *time.Timer
	ticking bool
}

// underway is a call whose answer has not come. What nobody waits for any more is read all the same, for what comes after it.
type underway struct {
	question
	call *call // nil: nobody waits
}

func newPipeline(conn net.Conn, timeout time.Duration) *pipeline {
	p := &pipeline{conn: conn, timeout: timeout, wake: make(chan struct{}, 1)}
	p.open.Store(true)
	p.timer = time.AfterFunc(timeout, p.tick)
	p.timer.Stop()
	go p.write()
	go p.read()
	return p
}

// send makes c a call under way, unless the pipeline takes no more.
func (p *pipeline) send(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open.Load() {
		return false
	}
	p.out = c.appendTo(p.out)
	if len(p.under) == cap(p.under) && p.head > 0 {
		p.under = p.under[:copy(p.under, p.under[p.head:])]
		p.written, p.head = p.written-p.head, 0
	}
	p.under = append(p.under, underway{c.question, c})
	if !p.ticking {
		p.ticking = true
		p.timer.Reset(p.timeout)
	}
	p.rouse()
	return true
}

// rouse wakes the writer; p.mu is held.
func (p *pipeline) rouse() {
	if p.resting {
		p.resting = false
		p.wake <- struct{}{}
	}
}

// write writes what is sent, until the pipeline ends.
func (p *pipeline) write() {
	var commands []byte
	for {
		p.mu.Lock()
		for len(p.out) == 0 && !p.ended {
			p.resting = true
			p.mu.Unlock()
			<-p.wake
			runtime.Gosched() // whoever can run may have something to send, too
			p.mu.Lock()
		}
		if p.ended {
			p.mu.Unlock()
			return
		}
		commands, p.out = p.out, commands[:0]
		p.written = len(p.under)
		p.mu.Unlock()
		if _, err := p.conn.Write(commands); err != nil {
			p.end(err, err)
			return
		}
		if cap(commands) > keepOut {
			commands = nil
		}
	}
}

// read reads answers, until the pipeline ends.
func (p *pipeline) read() {
	r := bufio.NewReaderSize(p.conn, readAhead)
	for {
		if _, err := r.Peek(1); err != nil {
			p.end(err, err)
			return
		}
		q, ok := p.expected()
		if !ok { // nobody asked
			p.end(errCut, errCut)
			return
		}
		answer, said, err := readReply(r, q, p.large.Store)
		if err != nil {
			p.end(err, errCut)
			return
		}
		p.answered(answer, said)
	}
}

// expected is what the next answer should be to.
func (p *pipeline) expected() (question, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head == p.written {
		return question{}, false
	}
	return p.under[p.head].question, true
}

// answered hands over an answer.
func (p *pipeline) answered(answer item, said error) {
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	c := p.under[p.head].call
	p.under[p.head] = underway{}
	if p.head++; p.head == len(p.under) {
		p.under, p.head, p.written = p.under[:0], 0, 0
	}
	idle := p.head == len(p.under) && !p.open.Load()
	p.mu.Unlock()
	if c != nil {
		answer.life = c.life
		c.answer, c.err = answer, said
		c.done <- c
	}
	if idle {
		p.retire()
	}
}

// retire makes the pipeline take no more calls; it ends when nobody waits for an answer.
func (p *pipeline) retire() {
	p.mu.Lock()
	p.open.Store(false)
	_, waited := p.oldest()
	p.mu.Unlock()
	if !waited {
		p.end(net.ErrClosed, errCut)
	}
}

// oldest is when the first call began that somebody waits for; p.mu is held.
func (p *pipeline) oldest() (begun time.Time, waited bool) {
	for _, u := range p.under[p.head:] {
		if u.call != nil && (!waited || u.call.begun.Before(begun)) {
			begun, waited = u.call.begun, true
		}
	}
	return begun, waited
}

// tick tells those whose time is over.
func (p *pipeline) tick() {
	var late []*call
	now := time.Now()
	p.mu.Lock()
	for i := p.head; i < len(p.under); i++ {
		if c := p.under[i].call; c != nil && now.Sub(c.begun) >= p.timeout {
			late = append(late, c)
			p.under[i].call = nil
		}
	}
	begun, waited := p.oldest()
	if p.ticking = waited; waited {
		p.timer.Reset(p.timeout - now.Sub(begun))
	}
	p.mu.Unlock()
	for _, c := range late {
		c.err = fmt.Errorf("memcached: no answer within %v: %w", p.timeout, os.ErrDeadlineExceeded)
		c.done <- c
	}
	if len(late) > 0 || !waited && !p.open.Load() {
		p.retire()
	}
}

// end ends the pipeline. The first call is told why, and those behind it what that means for them.
func (p *pipeline) end(first, others error) {
	p.mu.Lock()
	p.open.Store(false)
	under := p.under[p.head:]
	p.ended, p.under, p.head, p.written, p.out = true, nil, 0, 0, nil
	p.timer.Stop()
	p.rouse()
	p.mu.Unlock()
	for _, u := range under {
		if u.call != nil {
			u.call.err = first
			u.call.done <- u.call
		}
		first = others
	}
	p.conn.Close()
}
